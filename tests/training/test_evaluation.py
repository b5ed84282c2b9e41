"""Prediction and evaluation: what they return, and that chunks change nothing."""

import numpy as np
import pytest
from helpers import error, smooth_case
from hypothesis import given
from hypothesis import strategies as st

from backprop_xp.errors import DataError
from backprop_xp.nn.backpropagation import forward
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Network
from backprop_xp.training import evaluation
from backprop_xp.training.evaluation import evaluate, predict, row_slices

N = 600  # three chunks of 256 rows at least
NETWORK = Network((4, 5, 3), ("tanh", "softmax"))
PARAMETERS, X = smooth_case(NETWORK, N, margin=0.0)
Y = np.eye(3)[np.arange(N) % 3]
OUTPUTS = forward(NETWORK, PARAMETERS, X).a[-1]


@pytest.fixture
def many_chunks(monkeypatch):
    monkeypatch.setattr(evaluation, "_CHUNK", 1)
    assert len(list(row_slices(NETWORK, X))) == 3


def test_predictions_are_the_outputs_of_the_forward_pass(library, dtype, tolerance):
    found = predict(NETWORK, library.layers(PARAMETERS, dtype), library.array(X, dtype))
    assert found.dtype == library.dtype(dtype)
    assert error(found, OUTPUTS) <= tolerance


@pytest.mark.usefixtures("many_chunks")
def test_predictions_in_chunks_are_those_of_one_piece(library):
    found = predict(NETWORK, library.layers(PARAMETERS), library.array(X))
    assert error(found, OUTPUTS) <= 1e-12


def test_loss_and_accuracy_are_those_of_all_rows(library, dtype, tolerance):
    found = evaluate(
        NETWORK,
        get_loss("cross_entropy"),
        library.layers(PARAMETERS, dtype),
        library.array(X, dtype),
        library.array(Y, dtype),
        xp=library.xp,
    )
    right = int(np.sum(np.argmax(OUTPUTS, axis=1) == np.arange(N) % 3))
    assert error(found["loss"], -np.mean(np.log(OUTPUTS[Y == 1.0]))) <= tolerance
    assert (found["correct"], found["count"]) == (right, N)
    assert found["accuracy"] == right / N
    assert 0 < right < N


@pytest.mark.parametrize("loss", ["cross_entropy", "half_squared_error"])
def test_evaluation_in_chunks_is_that_of_one_piece(library, monkeypatch, loss):
    given = library.layers(PARAMETERS), library.array(X), library.array(Y)
    one = evaluate(NETWORK, get_loss(loss), *given, xp=library.xp)
    monkeypatch.setattr(evaluation, "_CHUNK", 1)
    assert len(list(row_slices(NETWORK, X))) == 3
    many = evaluate(NETWORK, get_loss(loss), *given, xp=library.xp)
    assert error(many.pop("loss"), one.pop("loss")) <= 1e-12
    assert many == one


@given(n=st.integers(1, 2000), size=st.integers(1, 10_000), chunk=st.integers(1, 1 << 21))
def test_chunks_cover_every_row_once_and_in_order(n, size, chunk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "_CHUNK", chunk)
        parts = list(row_slices(Network((1, size), "identity"), np.empty((n, 1))))
    assert [row for part in parts for row in range(n)[part]] == list(range(n))
    assert all(part.stop - part.start <= max(256, chunk // size) for part in parts)


def test_no_rows_give_no_predictions(library):
    found = predict(NETWORK, library.layers(PARAMETERS), library.array(np.zeros((0, 4))))
    assert tuple(found.shape) == (0, 3)


@pytest.mark.parametrize("shape", [(5, 3), (4,), (2, 2, 4)])
def test_inputs_of_another_width_are_refused(shape):
    with pytest.raises(DataError, match="the network takes 4 inputs") as failure:
        predict(NETWORK, PARAMETERS, np.zeros(shape))
    assert str(shape).rstrip(",)") in failure.value.message
    assert "(samples, 4)" in failure.value.hint


def test_inputs_are_not_changed(library):
    x = library.array(X)
    predict(NETWORK, library.layers(PARAMETERS), x)
    assert library.numpy(x).tobytes() == X.tobytes()
