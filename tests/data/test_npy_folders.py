"""Folders of .npy files, and files that are read in place because they are too large to load."""

from pathlib import Path

import numpy as np
import pytest
from command_line import image_folder
from helpers import bytes_of

from backprop_xp.data import memory_map
from backprop_xp.data.memory_map import MemoryMap
from backprop_xp.data.readers.idx import read_idx
from backprop_xp.data.readers.npz import read_npy_folder
from backprop_xp.data.sources import load_dataset, load_rows
from backprop_xp.errors import ConfigurationError, DataError
from backprop_xp.runs.run import prepare_run
from backprop_xp.runs.settings import RunSettings

X = np.random.default_rng(0).integers(0, 256, (60, 2, 3), dtype=np.uint8)
Y = np.asarray(["cat", "dog", "emu"])[np.arange(60) % 3]


@pytest.fixture
def in_place(monkeypatch):
    monkeypatch.setattr(memory_map, "MAX_LOADED", 0)


@pytest.fixture
def folder(tmp_path):
    def write(**arrays):
        path = tmp_path / f"rows{len(list(tmp_path.iterdir()))}"
        path.mkdir()
        for name, array in arrays.items():
            np.save(path / f"{name}.npy", array)
        return str(path)

    return write


def same(one, other):
    """Return whether two splits have the same rows."""
    return (one is None and other is None) or (
        one.inputs[:].tolist() == other.inputs[:].tolist()
        and one.targets.tolist() == other.targets.tolist()
    )


def test_a_folder_of_arrays_is_read_like_an_archive(folder, tmp_path):
    np.savez(tmp_path / "rows.npz", x=X, y=Y)
    one, other = load_dataset(folder(x=X, y=Y)), load_dataset(str(tmp_path / "rows.npz"))
    assert same(one.train, other.train)
    assert same(one.validation, other.validation)
    assert one.classes == other.classes == ("cat", "dog", "emu")
    assert one.image_shape == other.image_shape == (2, 3)
    assert one.default_scaling == other.default_scaling == str(X.max())


def test_what_is_read_in_place_is_what_is_loaded(folder, monkeypatch):
    path = folder(x_train=X, y_train=Y, x_test=X[:7], y_test=Y[:7])
    loaded = load_dataset(path)
    monkeypatch.setattr(memory_map, "MAX_LOADED", 0)
    mapped = load_dataset(path)
    for name in ("train", "validation", "test"):
        assert isinstance(getattr(mapped, name).inputs, MemoryMap)
        assert not isinstance(getattr(loaded, name).inputs, MemoryMap)
        assert same(getattr(mapped, name), getattr(loaded, name))
    inputs, targets, _ = load_rows(path, classes=loaded.classes)
    assert isinstance(inputs, MemoryMap)
    assert same(loaded.test, loaded.test._replace(inputs=inputs, targets=targets))


@pytest.mark.parametrize("scaling", [None, "standard"])
def test_a_run_from_files_read_in_place_is_that_from_loaded_ones(folder, monkeypatch, scaling):
    settings = RunSettings(
        data=folder(x=X, y=Y), hidden=(4,), epochs=2, seed=0, device="cpu", scaling=scaling
    )
    run = prepare_run(settings)
    loaded = run.train()
    monkeypatch.setattr(memory_map, "MAX_LOADED", 0)
    again = prepare_run(settings)
    assert isinstance(again.dataset.train.inputs, MemoryMap)
    state = again.train()
    assert bytes_of(state.parameters) == bytes_of(loaded.parameters)
    inputs, targets, _ = run.dataset.validation
    read_in_place, same_targets, _ = again.dataset.validation
    wanted = run.model(loaded).measure(inputs, targets)
    assert again.model(state).measure(read_in_place, same_targets) == wanted
    assert again.diagnose(state) == run.diagnose(loaded)


@pytest.mark.parametrize("exact", [False, True], ids=["large", "as large as is loaded"])
def test_a_large_plain_idx_file_is_read_in_place(tmp_path, monkeypatch, exact):
    path = image_folder(tmp_path / "set") / "train-images-idx3-ubyte"
    loaded = read_idx(path)
    monkeypatch.setattr(memory_map, "MAX_LOADED", loaded.size if exact else loaded.size - 1)
    again = read_idx(path)
    assert isinstance(again, np.memmap) is not exact
    assert again.tolist() == loaded.tolist()


@pytest.mark.parametrize(
    ("change", "message"), [(-1, "the header promises"), (1, "more bytes follow")]
)
def test_a_large_idx_file_of_another_size_is_refused(tmp_path, in_place, change, message):
    path = image_folder(tmp_path / "set") / "train-images-idx3-ubyte"
    content = path.read_bytes()
    path.write_bytes(content[:change] if change < 0 else content + b"\0")
    with pytest.raises(DataError, match=message):
        read_idx(path)


def test_a_folder_of_large_idx_files_stays_in_them(tmp_path, monkeypatch):
    folder = str(image_folder(tmp_path / "set"))
    loaded = load_dataset(folder)
    monkeypatch.setattr(memory_map, "MAX_LOADED", 0)
    mapped = load_dataset(folder)
    assert isinstance(mapped.validation.inputs, MemoryMap)
    for name in ("train", "validation", "test"):
        assert same(getattr(mapped, name), getattr(loaded, name))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "has inputs, but no targets"),
        ({"x": X, "y": Y[:-1]}, "'x' has 60 rows"),
        ({"x": np.array(X, dtype=object), "y": Y}, r"x\.npy: is not a complete \.npy file"),
        ({"x": np.where(X > 250, np.nan, X), "y": Y}, "nan is in row .* of .*'x'"),
        ({"x_test": X, "y_test": Y}, "has no train split"),
        ({"x": X, "x_train": X, "y": Y}, "x and x_train mean the same"),
        ({"x": X.astype("U3"), "y": Y}, "'x' has the type"),
    ],
)
@pytest.mark.parametrize("limit", [0, 1 << 28], ids=["in place", "loaded"])
def test_a_mistake_in_a_folder_of_arrays_is_named(folder, monkeypatch, limit, arrays, message):
    monkeypatch.setattr(memory_map, "MAX_LOADED", limit)
    with pytest.raises(DataError, match=message):
        load_dataset(folder(**arrays))


@pytest.mark.parametrize("keep", [0, 20, -1])
def test_an_array_that_is_cut_off_is_named(folder, keep):
    path = Path(folder(x=X, y=Y), "x.npy")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"x\.npy: is not a complete \.npy file"):
        read_npy_folder(path.parent)


def test_the_validation_set_of_a_folder_is_another_folder_of_arrays(folder, tmp_path):
    rows, held_out = folder(x=X, y=Y), folder(x=X[:9], y=Y[:9])
    dataset = load_dataset(rows, validation=held_out)
    assert (dataset.train.size, dataset.validation.size) == (60, 9)
    table = tmp_path / "rows.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(ConfigurationError, match="not of the same kind"):
        load_dataset(rows, validation=table)


def test_a_signaling_nan_is_a_missing_label_without_a_warning(tmp_path):
    y = np.ones(4, dtype=np.float32)
    y.view(np.uint32)[2] = 0x7F800001  # NumPy warns when it becomes a float64
    np.save(tmp_path / "x.npy", np.ones((4, 2)))
    np.save(tmp_path / "y.npy", y)
    with pytest.raises(DataError, match=r"row 2 .*the label is missing"):
        load_dataset(tmp_path, task="classification")
