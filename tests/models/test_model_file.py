"""The model file: every bit comes back as it was written, or the file is refused."""

import dataclasses
import hashlib
import json
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from command_line import small_model, written
from helpers import bytes_of

from backprop_xp import (
    ConfigurationError,
    Model,
    ModelFileError,
    load_model,
    save_model,
    select_device,
)
from backprop_xp.backend.devices import list_devices
from backprop_xp.data.preprocessing import fit_preprocessing
from backprop_xp.data.scaling import Scaling
from backprop_xp.data.table import Table
from backprop_xp.files import atomic_write
from backprop_xp.models.model_file import FORMAT, FORMAT_VERSION
from backprop_xp.nn.activations import elementwise
from backprop_xp.nn.losses import Loss, get_loss

OLD = Path(__file__).parents[1] / "support" / "version_0_1_0"

INSTALLED = sorted(
    {row.backend for row in list_devices() if row.usable and row.device == "cpu"} - {"numpy"}
)


@pytest.fixture
def saved(tmp_path):
    """The path and the content of a small model file."""
    path = tmp_path / "m.safetensors"
    save_model(small_model(), path)
    return path, path.read_bytes()


@pytest.fixture
def read(monkeypatch):
    """A function that reads bytes as if they stood in a file, thousands of times."""

    def load(content):
        with monkeypatch.context() as patched:
            patched.setattr(Path, "read_bytes", lambda path: bytes(content))
            return load_model("in memory")

    return load


@pytest.fixture
def jax_as_it_was():
    """Restore JAX's switch for float64: `select_device` turns it on for the whole process."""
    if "jax" not in INSTALLED:
        yield
        return
    import jax

    before = jax.config.jax_enable_x64
    yield
    jax.config.update("jax_enable_x64", before)


def format_version(path):
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    return json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["model"])[
        "format_version"
    ]


def forged(content, **changed):
    """Return a model file with another description, and with the hash that belongs to it."""
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    metadata = header["__metadata__"]
    described = {**json.loads(metadata["model"]), **changed.pop("described", {})}
    metadata.update(model=json.dumps(described), sha256="0" * 64)
    metadata.update(changed)
    head = json.dumps(header).encode()
    whole = struct.pack("<Q", len(head)) + head + content[8 + length :]
    return whole.replace(b"0" * 64, hashlib.sha256(whole).hexdigest().encode(), 1)


# --- there and back ---


@pytest.mark.parametrize(
    "model",
    [
        small_model(),
        small_model((3, 4, 2), ("relu", "softmax"), bias=False, classes=("ähre", "ox\n")),
        small_model((6, 5, 4, 1), ("tanh", "step", "sigmoid"), image_shape=(2, 3), seed=2**70),
        small_model((2, 2), dtype="float64", features=("a", "b"), scaling=None),
        small_model(loss=get_loss("mean_squared_error"), version="9.9.9"),
    ],
    ids=["plain", "no bias", "deep", "float64", "loss"],
)
def test_everything_about_a_model_comes_back(model, tmp_path):
    path = tmp_path / "m.safetensors"
    save_model(model, path)
    loaded = load_model(path)
    for field in dataclasses.fields(model):
        if field.name not in ("parameters", "scaling", "placement"):
            assert getattr(loaded, field.name) == getattr(model, field.name)
    assert bytes_of(loaded.parameters) == bytes_of(model.parameters)
    assert [layer.bias is None for layer in loaded.parameters] == [
        layer.bias is None for layer in model.parameters
    ]
    assert loaded.dtype == model.dtype
    if model.scaling is None:
        assert loaded.scaling is None
    else:
        for one, other in zip(loaded.scaling, model.scaling, strict=True):
            assert (one.dtype, one.tolist()) == (np.float64, other.tolist())
    x = np.random.default_rng(0).normal(size=(5, model.network.sizes[0]))
    assert loaded.outputs(x).tobytes() == model.outputs(x).tobytes()
    save_model(loaded, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_other_readers_of_safetensors_read_it_too(saved):
    path, _ = saved
    tensors = safetensors.numpy.load_file(path)
    assert set(tensors) == {
        *("layers.0.weights", "layers.0.bias", "scaling.offset", "scaling.divisor")
    }
    assert tensors["layers.0.weights"].shape == (1, 2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_library_writes_the_same_bytes_and_reads_them(dtype, tmp_path, jax_as_it_was):
    assert "array_api_strict" in INSTALLED
    model = small_model((3, 4, 2), ("relu", "softmax"), dtype=dtype)
    save_model(model, tmp_path / "numpy")
    for backend in INSTALLED:
        moved = model.to(select_device("cpu", backend, dtype=dtype))
        save_model(moved, tmp_path / backend)
        assert (tmp_path / backend).read_bytes() == (tmp_path / "numpy").read_bytes()
        loaded = load_model(tmp_path / "numpy", moved.placement)
        assert (loaded.placement.backend, loaded.dtype) == (backend, dtype)
        assert bytes_of(loaded.parameters) == bytes_of(model.parameters)


def test_weights_in_any_order_of_memory_are_written_row_by_row(tmp_path):
    model = small_model((3, 4), "identity")
    turned = [
        layer._replace(weights=np.asfortranarray(layer.weights)) for layer in model.parameters
    ]
    save_model(model, tmp_path / "a")
    save_model(dataclasses.replace(model, parameters=turned), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# --- damage ---


def test_every_single_flipped_bit_is_noticed(saved, read):
    _, content = saved
    changed = bytearray(content)
    for place in range(len(content)):
        for bit in range(8):
            changed[place] ^= 1 << bit
            with pytest.raises(ModelFileError):
                read(changed)
            changed[place] ^= 1 << bit
    assert read(changed).network.sizes == (2, 1)


def test_a_file_cut_off_anywhere_or_lengthened_is_refused(saved, read):
    _, content = saved
    for held in (*(content[:length] for length in range(len(content))), content + b"\0"):
        with pytest.raises(ModelFileError, match="damaged"):
            read(held)


@pytest.mark.parametrize("length", [2**24, 2**40, 2**63, 2**64 - 1])
def test_a_header_that_claims_to_be_huge_allocates_nothing(length, saved):
    path, content = saved
    path.write_bytes(struct.pack("<Q", length) + content[8:])
    tracemalloc.start()
    try:
        with pytest.raises(ModelFileError, match="header cannot be read"):
            load_model(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 some archive",
        safetensors.numpy.save({"w": np.zeros((2, 1))}),
        safetensors.numpy.save({"w": np.zeros((2, 1))}, {"format": "pt"}),
        safetensors.numpy.save({"w": np.zeros(1)}, {"format": FORMAT}),
        safetensors.numpy.save({"w": np.zeros(1)}, {"format": FORMAT, "sha256": "a", "model": ""}),
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
    ],
    ids=["empty", "zip", "plain", "torch", "no hash", "short hash", "list", "deep"],
)
def test_another_file_is_no_model(content, tmp_path):
    path = written(tmp_path / "other.safetensors", content)
    with pytest.raises(ModelFileError, match="is not a model file of this package") as failure:
        load_model(path)
    assert failure.value.hint == "take another copy of the file, or train the model again"


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    for path in (tmp_path / "gone", tmp_path, tmp_path / "gone" / "below"):
        with pytest.raises(ModelFileError, match="cannot be read") as failure:
            load_model(path)
        assert str(path) in failure.value.message
        assert "model.safetensors" in failure.value.hint


def test_a_format_of_the_future_names_the_version_that_reads_it(saved):
    path, content = saved
    for version in (FORMAT_VERSION + 1, 0, True, "2"):
        described = {"format_version": version, "version": "3.1"}
        path.write_bytes(forged(content, described=described))
        with pytest.raises(ModelFileError, match=r"written by version 3\.1") as failure:
            load_model(path)
        assert failure.value.hint == "read it with that version of backprop_xp"


# --- version 1 ---


@pytest.mark.parametrize("name", ["classification", "regression", "estimator"])
def test_a_model_of_version_1_is_written_as_version_2_with_the_same_outputs(name, tmp_path):
    path = OLD / f"{name}.safetensors"
    assert format_version(path) == 1
    model = load_model(path)
    assert model.preprocessing is model.target_scaling is model.label is None
    save_model(model, tmp_path / "again")
    again = load_model(tmp_path / "again")
    assert format_version(tmp_path / "again") == FORMAT_VERSION == 2
    assert bytes_of(again.parameters) == bytes_of(model.parameters)
    x = np.random.default_rng(0).normal(size=(20, model.network.sizes[0]))
    assert again.outputs(x).tobytes() == model.outputs(x).tobytes()
    assert again.predict(x).tolist() == model.predict(x).tolist()


@pytest.mark.parametrize(
    ("classes", "kind"),
    [
        (["0", "1"], "integer"),
        (["-1", "7"], "integer"),
        (["0.5", "1.5"], "number"),
        (["False", "True"], "boolean"),
        (["01", "1"], "text"),
        (["1", "x"], "text"),
        (["nan", "x"], "text"),
    ],
)
def test_the_type_of_the_classes_of_version_1_follows_from_their_names(saved, classes, kind):
    path, content = saved
    path.write_bytes(forged(content, described={"classes": classes, "label_type": None}))
    assert load_model(path).label_type == kind


# --- version 2 ---

TABLE = Table(
    "it",
    {
        "height": np.asarray([0.5, np.nan, 1.5]),
        "kind": np.asarray(["cat", "dog\n=", "cat"], dtype=object),
    },
)


def table_model():
    """Return a regression on the columns of TABLE."""
    fitted = fit_preprocessing(TABLE, ["height", "kind"])
    return small_model(
        (4, 2),
        **{"preprocessing": fitted, "features": fitted.inputs, "label": ("a", "b")},
        target_scaling=Scaling(np.asarray([3.0, 1e6]), np.asarray([0.5, 1e5])),
    )


def test_preprocessing_label_and_target_scaling_come_back(tmp_path):
    model = table_model()
    model = dataclasses.replace(
        model,
        preprocessing=model.preprocessing._replace(left_out={"id": "why"}, notes=("a note",)),
    )
    model.save(tmp_path / "m")
    loaded = Model.load(tmp_path / "m")
    for name in ("preprocessing", "label", "label_type", "features", "target_names", "loss_unit"):
        assert getattr(loaded, name) == getattr(model, name)
    for one, other in zip(loaded.target_scaling, model.target_scaling, strict=True):
        assert (one.dtype, one.tolist()) == (np.float64, other.tolist())
    assert loaded.predict(TABLE.columns).tobytes() == model.predict(TABLE.columns).tobytes()
    save_model(loaded, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "m").read_bytes()


def columns_changed(column, **changed):
    description = table_model().preprocessing.as_dict()
    description["columns"][column].update(changed)
    return description


@pytest.mark.parametrize(
    "described",
    [
        {"label_type": "complex"},
        {"label_type": 3},
        {"label": "ab"},
        {"label": [1, 2]},
        {"preprocessing": []},
        {"preprocessing": {"columns": [], "left_out": {}, "notes": []}},
        {"preprocessing": "height"},
        {"preprocessing": columns_changed(0, name="width")},
        {"preprocessing": columns_changed(0, name=3)},
        {"preprocessing": columns_changed(0, name="kind")},
        {"preprocessing": columns_changed(0, fill="1.0")},
        {"preprocessing": columns_changed(0, fill=float("nan"))},
        {"preprocessing": columns_changed(0, fill=float("inf"))},
        {"preprocessing": columns_changed(0, indicator=1)},
        {"preprocessing": columns_changed(0, indicator=False)},
        {"preprocessing": columns_changed(1, fill="emu")},
        {"preprocessing": columns_changed(1, categories=["cat"])},
        {"preprocessing": columns_changed(1, categories=["cat", 3])},
        {"preprocessing": columns_changed(1, categories="cat")},
        {"preprocessing": {**table_model().preprocessing.as_dict(), "notes": [3]}},
        {"preprocessing": {**table_model().preprocessing.as_dict(), "left_out": {"id": None}}},
        {"preprocessing": {"columns": table_model().preprocessing.as_dict()["columns"]}},
    ],
    ids=str,
)
def test_a_preprocessing_that_cannot_be_applied_is_an_error(described, tmp_path):
    save_model(table_model(), tmp_path / "m")
    content = (tmp_path / "m").read_bytes()
    path = written(tmp_path / "forged", forged(content))
    assert load_model(path).preprocessing == table_model().preprocessing
    path.write_bytes(forged(content, described=described))
    with pytest.raises(ModelFileError, match="does not describe a model"):
        load_model(path)


@pytest.mark.parametrize(
    "scaling",
    [
        Scaling(np.zeros(1), np.ones(1)),
        Scaling(np.zeros(2), np.zeros(2)),
        Scaling(np.full(2, np.nan), np.ones(2)),
        Scaling(np.zeros(2, np.float32), np.ones(2, np.float32)),
    ],
    ids=["width", "zero", "nan", "float32"],
)
def test_a_target_scaling_that_cannot_be_applied_is_an_error(scaling, tmp_path):
    save_model(dataclasses.replace(table_model(), target_scaling=scaling), tmp_path / "m")
    with pytest.raises(ModelFileError, match="does not describe a model"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize(
    "described",
    [
        {"sizes": [2, 2]},
        {"sizes": [2]},
        {"sizes": [2, -1]},
        {"sizes": "2-1"},
        {"sizes": None},
        {"activations": ["os.system"]},
        {"activations": []},
        {"activations": 3},
        {"bias": False, "activations": ["identity", "identity"]},
        {"bias": None},
        {"loss": "eval"},
        {"loss": "cross_entropy"},
        {"loss": []},
        {"dtype": "float16"},
        {"dtype": "float64"},
        {"classes": ["a"]},
        {"classes": ["a", "b", "c"]},
        {"classes": [1, 2]},
        {"classes": "ab"},
        {"features": ["a"]},
        {"features": [["a"], ["b"]]},
        {"image_shape": [3, 3]},
        {"image_shape": [2.0, 1.0]},
        {"image_shape": 2},
        {"seed": "0"},
        {"version": 1},
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_the_weights_is_refused(described, saved):
    path, content = saved
    path.write_bytes(forged(content))
    assert load_model(path).network.sizes == (2, 1)
    path.write_bytes(forged(content, described=described))
    with pytest.raises(ModelFileError, match="does not describe a model"):
        load_model(path)


@pytest.mark.parametrize("model", ["", "[]", "null", "{}", "[" * 100_000], ids=lambda m: m[:4])
def test_a_description_that_is_none_is_refused(model, saved):
    path, content = saved
    path.write_bytes(forged(content, model=model))
    with pytest.raises(ModelFileError, match="does not describe a model"):
        load_model(path)


@pytest.mark.parametrize(
    "scaling",
    [
        Scaling(np.zeros(3), np.ones(3)),
        Scaling(np.zeros(2), np.zeros(2)),
        Scaling(np.full(2, np.nan), np.ones(2)),
        Scaling(np.zeros(2, np.float32), np.ones(2, np.float32)),
    ],
    ids=["width", "zero", "nan", "float32"],
)
def test_a_scaling_that_cannot_be_applied_is_refused(scaling, tmp_path):
    save_model(small_model(scaling=scaling), tmp_path / "m")
    with pytest.raises(ModelFileError, match="does not describe a model"):
        load_model(tmp_path / "m")


# --- writing ---


def test_functions_of_ones_own_cannot_be_kept_in_a_file(tmp_path):
    own = elementwise("tanh", lambda z, xp: z, lambda z, a, xp: xp.ones_like(z))
    loss = get_loss("squared_error")
    assert isinstance(loss, Loss)
    for model, kind in (
        (small_model(activations=own), "activation 'tanh'"),
        (small_model(loss=loss._replace(name="mine")), "loss 'mine'"),
    ):
        with pytest.raises(ConfigurationError, match=f"the {kind} is a custom one"):
            save_model(model, tmp_path / "m")
    assert os.listdir(tmp_path) == []


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    (tmp_path / "folder").mkdir()
    file = written(tmp_path / "file", b"")
    for path in (tmp_path / "gone" / "m", tmp_path / "folder", file / "m"):
        with pytest.raises(ConfigurationError, match="cannot be written"):
            save_model(small_model(), path)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_half_way_leaves_the_earlier_file(fault, tmp_path):
    path = written(tmp_path / "m", b"earlier")

    def fail(file):
        file.write(b"half of it")
        raise fault

    with pytest.raises((ConfigurationError, KeyboardInterrupt)):
        atomic_write(path, fail)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"earlier", ["m"])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only POSIX has named pipes")
def test_only_files_are_replaced_and_links_are_followed(tmp_path):
    os.mkfifo(tmp_path / "pipe")  # as devices are, it is not a file
    with pytest.raises(ConfigurationError, match="not a file"):
        atomic_write(tmp_path / "pipe", lambda file: file.write(b"x"))
    assert (tmp_path / "pipe").is_fifo()
    target, link = written(tmp_path / "target", b"earlier"), tmp_path / "link"
    link.symlink_to("target")
    atomic_write(link, lambda file: file.write(b"later"))
    assert (link.is_symlink(), target.read_bytes()) == (True, b"later")


def test_the_file_has_the_permissions_of_any_new_file(saved, tmp_path):
    path, _ = saved
    assert path.stat().st_mode == written(tmp_path / "other", b"").stat().st_mode
