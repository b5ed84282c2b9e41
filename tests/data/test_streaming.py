"""Training on a file that is read in chunks, compared with training on loaded rows."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from helpers import bytes_of, error, errors
from hypothesis import given
from hypothesis import strategies as st

from backprop_xp.backend.devices import placement_of, select_device
from backprop_xp.data import streaming
from backprop_xp.data.memory_map import MemoryMap, as_memory_map
from backprop_xp.data.scaling import Scaling, scaling_for
from backprop_xp.data.streaming import BLOCKS, StreamedData, load_data, sample_rows, shuffled_chunks
from backprop_xp.diagnosis.doctor import diagnose
from backprop_xp.errors import DataError, DivergenceError
from backprop_xp.models.model import Model
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Network
from backprop_xp.training.fit import fit

N = 53
NETWORK = Network((6, 5, 3), ("tanh", "softmax"))
X = np.random.default_rng(0).normal(size=(N, 6))
LABELS = np.arange(N) % 3
CHUNK_BYTES = 11 * 6 * 8
SETTINGS = {"optimizer": "momentum", "learning_rate": 0.05, "batch_size": 5, "epochs": 2, "seed": 3}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Make chunks of 11 rows in float64 and 22 in float32; in training, of 10 and 20."""
    monkeypatch.setattr(streaming, "CHUNK_BYTES", CHUNK_BYTES)


@pytest.fixture
def on_disk(tmp_path):
    def write(array):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.npy"
        np.save(path, array)
        return np.load(path, mmap_mode="r")

    return write


def streamed_order(size):
    """Return the order in which rows are streamed, for training on loaded rows."""
    return lambda epoch, n: np.concatenate(list(shuffled_chunks(3, epoch, n, size)))


def size_of(dtype):
    return 10 if dtype == "float64" else 20


# --- training ---


def test_streamed_training_equals_training_in_memory_in_the_same_order(
    library, dtype, tolerance, on_disk
):
    settings = {**SETTINGS, "device": library.placement, "dtype": dtype, "evaluate_training": True}
    validation = X[::-1].copy(), LABELS[::-1].copy()
    validation_files = on_disk(validation[0]), on_disk(validation[1])
    streamed = fit(NETWORK, (on_disk(X), LABELS), validation_files, **settings)
    order = streamed_order(size_of(dtype))
    loaded = fit(NETWORK, (X, LABELS), validation, shuffle=order, **settings)
    assert errors(streamed.parameters, loaded.parameters) <= tolerance
    measures = "loss", "accuracy"
    for name in (
        f"{part}{measure}" for part in ("", "train_", "validation_") for measure in measures
    ):
        pairs = [[record[name] for record in state.history] for state in (streamed, loaded)]
        assert error(*pairs) <= tolerance
    assert [r["step"] for r in streamed.history] == [r["step"] for r in loaded.history] == [11, 22]


@pytest.mark.parametrize(
    "options",
    [
        {"sample_weight": np.linspace(0.5, 2.0, N)},
        {"class_weight": {1: 3.0}},
        {"class_weight": "balanced", "sample_weight": np.linspace(0.5, 2.0, N)},
        {"label_smoothing": 0.1},
        # A chunk of a single batch is not shuffled again, so every chunk has several batches here.
        {"dropout": (0.5,), "l2": 0.1, "batch_size": 4},
        {"batch_size": 7},  # chunks of 7 rows
        {"batch_size": 12},  # more than fits in a chunk: a chunk is one batch
        {"batch_size": N},
        {"schedule": "cosine", "warm_up": 3},
    ],
    ids=str,
)
def test_whatever_belongs_to_rows_and_steps_is_the_same(on_disk, options):
    settings = {**SETTINGS, **options}
    size = max(1, 11 // settings["batch_size"]) * settings["batch_size"]
    streamed = fit(NETWORK, (on_disk(X), LABELS), **settings)
    loaded = fit(NETWORK, (X, LABELS), shuffle=streamed_order(size), **settings)
    assert errors(streamed.parameters, loaded.parameters) <= 1e-12
    assert error(streamed.history[-1]["loss"], loaded.history[-1]["loss"]) <= 1e-12


def stride(epoch, n):
    return [(7 * i + epoch) % n for i in range(n)]


@pytest.mark.parametrize("shuffle", [False, stride])
def test_an_order_of_ones_own_is_kept(on_disk, shuffle):
    streamed = fit(NETWORK, (on_disk(X), LABELS), shuffle=shuffle, **SETTINGS)
    loaded = fit(NETWORK, (X, LABELS), shuffle=shuffle, **SETTINGS)
    assert errors(streamed.parameters, loaded.parameters) <= 1e-12


def test_a_streamed_training_goes_on_as_if_it_had_not_stopped(on_disk):
    data = on_disk(X), LABELS
    whole = fit(NETWORK, data, **{**SETTINGS, "epochs": 3})
    first = fit(NETWORK, data, **{**SETTINGS, "epochs": 1})
    joined = fit(NETWORK, data, state=first, **{**SETTINGS, "epochs": 3})
    assert bytes_of(joined.parameters) == bytes_of(whole.parameters)


def test_a_target_loss_stops_within_a_later_window(on_disk):
    loaded = fit(NETWORK, (X, LABELS), shuffle=False, **SETTINGS)
    target_loss = loaded.history[-1]["loss"] * 1.02
    settings = {**SETTINGS, "target_loss": target_loss, "learning_rate": 0.2, "shuffle": False}
    states = [fit(NETWORK, (x, LABELS), **settings) for x in (on_disk(X), X)]
    steps, losses = zip(*((s.step, s.history[-1]["loss"]) for s in states), strict=True)
    assert states[0].stopped == "target_loss"
    assert steps[0] == steps[1]
    assert steps[0] % 11 > 2
    assert error(losses[0], losses[1]) <= 1e-12
    assert errors(states[0].parameters, states[1].parameters) <= 1e-12


def test_a_divergence_names_the_same_step(library, on_disk):
    x = X.copy()
    x[33] = 1e200  # finite, but too large for the weights
    network = Network((6, 5, 3), ("identity", "identity"))
    settings = {**SETTINGS, "loss": "squared_error", "shuffle": False, "dtype": "float64"}
    messages = []
    for inputs in (on_disk(x), x):
        with (
            pytest.warns(UserWarning, match="the inputs of column 0 have a root mean square"),
            pytest.raises(DivergenceError) as failure,
        ):
            fit(network, (inputs, LABELS), device=library.placement, **settings)
        messages.append(failure.value.message)
    assert messages[0] == messages[1]
    assert "at step 7" in messages[0]


def test_a_file_of_one_window_is_trained_on_as_if_it_were_loaded(library, on_disk, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK_BYTES", N * 6 * 8)
    settings = {**SETTINGS, "device": library.placement, "dtype": "float64"}
    mapped = fit(NETWORK, (on_disk(X), on_disk(LABELS)), **settings)
    loaded = fit(NETWORK, (X, LABELS), **settings)
    assert bytes_of(mapped.parameters) == bytes_of(loaded.parameters)


def test_bytes_are_scaled_as_they_are_read(on_disk):
    images = np.random.default_rng(1).integers(0, 256, (N, 6), dtype=np.uint8)
    scaling = scaling_for("255", images)
    mapped = scaling.apply(on_disk(images))
    assert isinstance(mapped, MemoryMap)
    settings = {**SETTINGS, "dtype": "float32"}
    streamed = fit(NETWORK, (mapped, LABELS), **settings)
    loaded = fit(NETWORK, (scaling.apply(images), LABELS), shuffle=streamed_order(20), **settings)
    assert errors(streamed.parameters, loaded.parameters) <= 1e-5


@pytest.mark.parametrize("kind", [np.int16, np.bool_, np.float16, ">f4"])
def test_files_of_any_numbers_are_cast_as_arrays_are(on_disk, kind):
    x = (X > 0.0).astype(kind)
    settings = {**SETTINGS, "dtype": "float64", "shuffle": False}
    streamed, loaded = (fit(NETWORK, (rows, LABELS), **settings) for rows in (on_disk(x), x))
    assert errors(streamed.parameters, loaded.parameters) <= 1e-12


# --- the shuffle ---


@given(
    n=st.integers(1, 400),
    size=st.integers(1, 300),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 5),
)
def test_every_row_comes_once_in_windows_of_one_size(n, size, seed, epoch):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "BLOCKS", 4)
        chunks = list(shuffled_chunks(seed, epoch, n, size))
        again = list(shuffled_chunks(seed, epoch, n, size))
    assert sorted(np.concatenate(chunks).tolist()) == list(range(n))
    assert [chunk.size for chunk in chunks[:-1]] == [size] * (len(chunks) - 1)
    assert 1 <= chunks[-1].size <= size
    assert [chunk.tolist() for chunk in again] == [chunk.tolist() for chunk in chunks]


def test_epochs_and_seeds_shuffle_differently():
    orders = {
        tuple(np.concatenate(list(shuffled_chunks(seed, epoch, 1000, 256))).tolist())
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4


def test_a_window_is_gathered_from_blocks_all_over_the_file_and_mixed():
    n, size = 512 * 100, 512
    chunk = next(shuffled_chunks(0, 0, n, size))
    assert len(set((chunk // (size // BLOCKS)).tolist())) == BLOCKS
    assert np.histogram(chunk, bins=4, range=(0, n))[0].min() > size // 8
    neighbors = sum(abs(a - b) == 1 for a, b in pairwise(chunk.tolist()))
    assert neighbors < size // 20  # of 384 pairs of neighbors in the file


# --- memory ---


def test_training_measuring_and_predicting_keep_to_a_few_windows(tmp_path, monkeypatch):
    chunk_bytes, n, columns = 1 << 20, 60_000, 100  # 24 MB of float32, 6 MB as stored
    monkeypatch.setattr(streaming, "CHUNK_BYTES", chunk_bytes)
    path = tmp_path / "x.npy"
    stored = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=(n, columns))
    stored[:] = np.arange(columns, dtype=np.uint8)
    stored.flush()
    del stored
    x = scaling_for("255", np.zeros((1, columns))).apply(np.load(path, mmap_mode="r"))
    labels = np.zeros(n, dtype=np.uint8)
    network = Network((columns, 4, 2), ("relu", "softmax"))
    fit(NETWORK, (X, LABELS), **SETTINGS)  # so that imports are not measured
    tracemalloc.start()
    try:
        state = fit(network, (x, labels), (x, labels), batch_size=500, epochs=2, seed=0)
        model = model_of(network, state)
        model.measure(x, labels)
        assert model.outputs(x).shape == (n, 2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Two chunks, one of them being read; 8 bytes per row for the drawn rows; the outputs.
    assert chunk_bytes < peak < 3 * chunk_bytes + 16 * n


def model_of(network, state, scaling=None):
    loss = get_loss("cross_entropy")
    placement = select_device("cpu", "numpy")
    names = tuple("abc"[: network.sizes[-1]])
    return Model(network, state.parameters, loss, scaling, names, None, None, 0, "0", placement)


# --- errors ---


def spoiled(index, value, array=X):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (spoiled((37, 4), np.nan), LABELS),
        (spoiled((52, 0), -np.inf), LABELS),
        (X, spoiled(41, 3, LABELS)),
        (X, spoiled(30, -1, LABELS)),
        (X, spoiled((44, 1), np.nan, np.eye(3)[LABELS])),
        (X, spoiled((44, 1), 1.5, np.eye(3)[LABELS])),
        (X, LABELS[:-1]),
        (X, np.eye(2)[LABELS % 2]),
        (X[:, :5], LABELS),
        (X.reshape(N, 2, 3), LABELS),
        (spoiled((37, 4), 1e300), LABELS),
    ],
    ids=[
        "nan",
        "inf",
        "label",
        "negative",
        "nan-target",
        "share",
        "rows",
        "outputs",
        "columns",
        "dimensions",
        "float32",
    ],
)
def test_an_error_says_the_same_of_a_file_as_of_an_array(on_disk, x, y):
    texts = []
    for inputs in (on_disk(x), x):
        with np.errstate(over="ignore"), pytest.raises(DataError) as failure:
            fit(NETWORK, (inputs, y), dtype="float32", **SETTINGS)
        texts.append((failure.value.message, failure.value.hint))
    assert texts[0] == texts[1]


def test_a_model_names_the_row_of_a_file_too(on_disk):
    state = fit(NETWORK, (X, LABELS), **SETTINGS)
    model, x = model_of(NETWORK, state), on_disk(spoiled((37, 4), np.nan))
    for use in (lambda: model.measure(x, LABELS), lambda: model.outputs(x)):
        with pytest.raises(DataError, match="nan is in row 37, column 4"):
            use()


# --- other uses of rows ---


def test_a_model_says_the_same_of_a_file_as_of_an_array(on_disk):
    model = model_of(NETWORK, fit(NETWORK, (X, LABELS), **SETTINGS), Scaling(X[0], X[1] ** 2))
    assert error(model.outputs(on_disk(X)), model.outputs(X)) <= 1e-12
    got, wanted = model.measure(on_disk(X), LABELS), model.measure(X, LABELS)
    assert got["correct"] == wanted["correct"]
    assert got["count"] == N
    assert error(got["loss"], wanted["loss"]) <= 1e-12


def test_the_doctor_looks_at_a_window_of_a_file(on_disk):
    x = X * [1.0, 1e4, 1.0, 1.0, 1.0, 1.0]
    with pytest.warns(UserWarning, match="the inputs of column 1 have a root mean square"):
        state = fit(NETWORK, (on_disk(x), LABELS), **SETTINGS)
    rows, labels = sample_rows((on_disk(x), LABELS))
    assert rows.shape == (11, 6)
    assert labels.tolist() == LABELS[rows.picked].tolist()
    assert rows.picked[[0, -1]].tolist() == [0, N - 1]
    faults = [finding.fault for finding in diagnose(NETWORK, state, (on_disk(x), LABELS))]
    assert "inputs not scaled" in faults


def test_picked_rows_stay_in_the_file(on_disk):
    rows = as_memory_map(on_disk(X)).pick(np.asarray([5, 1, 44])).pick(slice(1, None))
    assert rows.shape == (2, 6)
    assert rows[:].tolist() == X[[1, 44]].tolist()
    assert rows.read(np.asarray([1]), "float32").tolist() == X[[44]].astype(np.float32).tolist()


def test_the_scaling_of_a_file_is_that_of_an_array(on_disk, monkeypatch):
    monkeypatch.setattr("backprop_xp.data.scaling._BLOCK_ENTRIES", 60)
    x = np.column_stack([X, np.full(N, 0.1)])
    got, wanted = scaling_for("standard", as_memory_map(on_disk(x))), scaling_for("standard", x)
    assert error(got.offset, x.mean(axis=0)) <= 1e-15
    assert error(got.divisor[:6], X.std(axis=0)) <= 1e-15
    assert got.divisor[6] == 1.0
    assert [a.tolist() for a in got] == [a.tolist() for a in wanted]


def test_only_a_file_of_more_than_a_window_is_streamed(on_disk):
    def streamed(x):
        data = x, np.zeros(len(x), dtype=np.int64)
        loaded = load_data(data, 6, 3, placement_of(X), chunk_bytes=CHUNK_BYTES)
        return isinstance(loaded, StreamedData)

    assert streamed(on_disk(X))
    assert not streamed(on_disk(X[:11]))
    assert not streamed(X)
