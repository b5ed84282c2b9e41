"""Data on its device: what is accepted, and where errors are located."""

import math

import numpy as np
import pytest
from command_line import small_model

from backprop_xp.backend import arrays
from backprop_xp.backend.devices import placement_of
from backprop_xp.data.device_data import check_width, inputs_to_device, to_device
from backprop_xp.errors import DataError, DeviceError
from backprop_xp.nn.losses import LOSSES, check_targets
from backprop_xp.nn.network import Network
from backprop_xp.training.fit import fit

X = np.arange(12.0).reshape(4, 3)


def moved(backend, inputs, targets, n_outputs=2, dtype="float64"):
    return to_device(
        (inputs, targets),
        3,
        n_outputs,
        backend.placement.with_dtype(dtype),
        what="the training data",
    )


def test_class_indices_become_one_hot_rows(library, dtype):
    x = library.array(X, dtype)
    data = moved(library, x, library.array([1, 0, 1, 0], "index"), 2, dtype)
    assert data.x.dtype == data.y.dtype == library.dtype(dtype)
    assert library.numpy(data.x).tolist() == X.tolist()
    assert library.numpy(data.y).tolist() == [[0, 1], [1, 0], [0, 1], [1, 0]]
    assert data.labeled


def test_for_a_single_output_two_classes_become_0_and_1(library):
    data = moved(library, X, library.array([1, 0, 1, 0], "index"), 1)
    assert library.numpy(data.y).tolist() == [[1.0], [0.0], [1.0], [0.0]]
    assert data.labeled


@pytest.mark.parametrize("targets", [[0.5, 1.5, 2.5, 3.5], [[0.5], [1.5], [2.5], [3.5]]])
def test_values_for_a_single_output_may_be_a_column_or_a_row(library, targets):
    data = moved(library, X, library.array(targets), 1)
    assert library.numpy(data.y).tolist() == [[0.5], [1.5], [2.5], [3.5]]
    assert not data.labeled


def test_lists_and_numpy_arrays_are_brought_to_the_device(library, dtype):
    for inputs, targets in ((X.tolist(), [0, 1, 0, 1]), (X, np.asarray([0, 1, 0, 1]))):
        data = moved(library, inputs, targets, 2, dtype)
        for array in (data.x, data.y):
            assert arrays.backend_name(arrays.namespace(array)) == library.placement.backend
            assert arrays.device(array) == library.placement.device
            assert array.dtype == library.dtype(dtype)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_is_found_by_row_and_column(library, bad):
    x = X.copy()
    x[2, 1] = bad
    with pytest.raises(DataError) as failure:
        moved(library, library.array(x), library.array([0, 1, 0, 1], "index"))
    assert failure.value.message.startswith(f"{bad} is in row 2, column 1 of the inputs of")
    y = np.zeros((4, 2))
    y[3, 0] = bad
    with pytest.raises(DataError) as failure:
        moved(library, library.array(X), library.array(y))
    assert failure.value.message.startswith(f"{bad} is in row 3, column 0 of the targets of")


@pytest.mark.parametrize(("label", "n_outputs"), [(2, 2), (-1, 2), (2, 1), (7, 3)])
def test_a_class_index_out_of_range_is_found_by_its_row(library, label, n_outputs):
    labels = library.array([0, 1, label, label], "index")
    classes = max(n_outputs, 2)
    with pytest.raises(DataError, match="class index in row 2 of the training data") as failure:
        moved(library, library.array(X), labels, n_outputs)
    assert f"is {label}, and there are {classes} classes" in failure.value.message
    assert f"from 0 to {classes - 1}" in failure.value.hint


@pytest.mark.parametrize(
    ("loss", "bad", "wanted"),
    [
        ("cross_entropy", -0.5, "between 0 and 1"),
        ("binary_cross_entropy", 1.5, "between 0 and 1"),
        ("poisson", -2.0, "from 0 up"),
    ],
)
def test_a_target_that_a_loss_can_make_no_sense_of_is_found_by_row_and_column(
    library, loss, bad, wanted
):
    y = np.full((4, 2), 0.5)
    check_targets(library.array(y), LOSSES[loss], xp=library.xp)
    y[2, 1] = bad
    with pytest.raises(DataError) as failure:
        check_targets(library.array(y), LOSSES[loss], xp=library.xp)
    assert failure.value.message.startswith(f"{bad} is in row 2, column 1 of the targets of")
    assert f"the loss {loss!r} needs targets {wanted}" in failure.value.hint


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_targets_that_are_no_probabilities_and_no_rates_are_for_the_other_losses(loss):
    for y, rejected in (
        (7.0, LOSSES[loss].needs_probabilities),
        (-7.0, LOSSES[loss].needs_probabilities or LOSSES[loss].needs_positive),
    ):
        if rejected:
            with pytest.raises(DataError):
                check_targets(np.asarray([[y]]), LOSSES[loss], xp=np)
        else:
            assert check_targets(np.asarray([[y]]), LOSSES[loss], xp=np) is None


@pytest.mark.parametrize("name", ["the training data", "the validation data"])
def test_training_refuses_targets_that_its_loss_can_make_no_sense_of(name):
    good, bad = (X, [0.0, 1.0, 2.0, 3.0]), (X, [0.0, 1.0, -2.0, 3.0])
    sets = (bad, good) if name == "the training data" else (good, bad)
    with pytest.raises(DataError, match=rf"-2\.0 is in row 2, column 0 of the targets of {name}"):
        fit(Network((3, 1), "softplus"), *sets, loss="poisson", epochs=1)


def test_evaluation_refuses_targets_that_the_loss_of_its_model_can_make_no_sense_of():
    model = small_model((3, 1), "softplus", loss=LOSSES["poisson"])
    assert model.evaluate(X, [0.0, 1.0, 2.0, 3.0])["count"] == 4
    with pytest.raises(DataError, match=r"-2\.0 is in row 2, column 0"):
        model.evaluate(X, [0.0, 1.0, -2.0, 3.0])


def test_unequal_numbers_of_rows_are_told(library):
    with pytest.raises(DataError, match="4 rows of inputs and 3 of targets"):
        moved(library, library.array(X), library.array([0, 1, 0], "index"))


@pytest.mark.parametrize(
    "targets", [np.zeros((4, 3)), np.zeros(4), np.zeros((4, 2, 1)), np.asarray([True] * 4)]
)
def test_targets_of_another_shape_or_type_are_refused(targets):
    with pytest.raises(DataError, match="the network has 2 outputs") as failure:
        to_device((X, targets), 3, 2, placement_of(X))
    assert "class indices of the shape (samples,)" in failure.value.hint


@pytest.mark.parametrize("shape", [(4, 2), (3,), (4, 3, 1)])
def test_inputs_of_another_width_are_refused(shape):
    with pytest.raises(DataError, match="the network takes 3 inputs") as failure:
        check_width(np.zeros(shape), 3, "the data")
    assert "(samples, 3)" in failure.value.hint


def test_no_rows_at_all_are_refused():
    with pytest.raises(DataError, match="the data has no rows"):
        inputs_to_device(np.zeros((0, 3)), 3, placement_of(X))


def test_the_users_arrays_are_not_changed(library):
    x, y = library.array(X), library.array(np.eye(4)[:, :2])
    moved(library, x, y)
    assert library.numpy(x).tobytes() == X.tobytes()
    assert library.numpy(y).tolist() == np.eye(4)[:, :2].tolist()


@pytest.mark.parametrize("where", ["inputs", "targets"])
def test_complex_numbers_are_an_error(library, where):
    if library.placement.backend == "array_api_strict":
        numbers = library.xp.asarray(X.astype(complex), device=library.placement.device)
    else:
        numbers = library.xp.asarray(X.astype(complex))
    inputs, targets = (numbers, X) if where == "inputs" else (X, numbers)
    with pytest.raises(DataError, match=f"the {where} of the training data are complex") as caught:
        moved(library, inputs, targets, n_outputs=3)
    assert "real" in caught.value.hint


def test_a_sparse_matrix_is_an_error_that_names_what_takes_it():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(DataError, match="the inputs of the training data are a sparse") as caught:
        fit(Network((3, 2), "softmax"), (sparse.csr_matrix(X), [0, 1, 0, 1]))
    assert ".toarray()" in caught.value.hint
    assert "MLPClassifier" in caught.value.hint


def test_data_too_large_for_the_device_is_an_error_that_names_streaming():
    class Small:
        name = "cuda:0"

        def asarray(self, x):
            raise MemoryError

    with pytest.raises(DeviceError, match="do not fit into the memory of the device cuda:0") as e:
        inputs_to_device(X, 3, Small(), what="the training data")
    assert "streamed" in e.value.hint


def test_half_precision_is_trained_in_single_precision():
    data = X.astype(np.float16), np.asarray([0, 1, 0, 1])
    state = fit(Network((3, 2), "softmax"), data, epochs=3, seed=0)
    assert state.parameters[0].weights.dtype == np.float32
    single = fit(
        Network((3, 2), "softmax"), (data[0].astype(np.float32), data[1]), epochs=3, seed=0
    )
    assert state.parameters[0].weights.tobytes() == single.parameters[0].weights.tobytes()
