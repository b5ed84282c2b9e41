"""The model file: every bit comes back as it was written, or the file is refused."""

import dataclasses
import hashlib
import json
import os
import re
import struct
import subprocess
import sys
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
from backprop_xp.models.model_file import FORMAT, FORMAT_VERSION, _describe
from backprop_xp.nn.activations import elementwise
from backprop_xp.nn.losses import Loss, get_loss
from backprop_xp.tensor_file import read_tensors, write_tensors

try:
    import resource
except ImportError:  # Windows
    resource = None

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
def read(tmp_path):
    """A function that reads a model from bytes, thousands of times through one open file."""
    path = tmp_path / "changed"
    with open(path, "wb", buffering=0) as file:

        def load(content):
            file.seek(0)
            file.write(content)
            file.truncate()
            return load_model(path)

        yield load


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
    described.pop(changed.pop("left_out", None), None)
    metadata.update(model=json.dumps(described), sha256="0" * 64)
    metadata.update(changed)
    head = json.dumps(header).encode()
    whole = struct.pack("<Q", len(head)) + head + content[8 + length :]
    place = b'"sha256": "%b'
    digest = hashlib.sha256(whole).hexdigest().encode()
    return whole.replace(place % (b"0" * 64), place % digest)


def forge(path, model, *, tensors):
    """Write a model file with some other tensors (None for none), and the hash that belongs."""
    save_model(model, path)
    right, metadata = read_tensors(path, FORMAT)
    changed = {name: one for name, one in (right | tensors).items() if one is not None}
    write_tensors(path, FORMAT, changed, metadata)


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
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 200_000) + b"[" * 200_000,
        struct.pack("<Q", 2) + b"\xff\xff",
    ],
    ids=["empty", "zip", "list", "deep", "not text"],
)
def test_another_file_is_no_model(content, tmp_path):
    path = written(tmp_path / "other.safetensors", content)
    with pytest.raises(ModelFileError, match="is not a model file of this package") as failure:
        load_model(path)
    assert failure.value.hint == "take another copy of the file, or train the model again"


@pytest.mark.parametrize(
    ("metadata", "end"),
    [
        (None, "package"),
        ({"format": "pt"}, "its format is 'pt'"),
        ({"format": "\x1b[2J" * 99}, r"its format is '\\x1b\[2J[^\x1b]{1,80}'"),
    ],
    ids=["plain", "torch", "control"],
)
def test_a_safetensors_file_of_another_program_is_not_called_damaged(metadata, end, tmp_path):
    content = safetensors.numpy.save({"w": np.zeros((2, 1))}, metadata)
    path = written(tmp_path / "other.safetensors", content)
    with pytest.raises(ModelFileError) as failure:
        load_model(path)
    message = failure.value.message
    assert f"{path} is a safetensors file, but not a model file of this package" in message
    assert re.search(f"{end}$", message)
    assert "damaged" not in message


@pytest.mark.parametrize("sha256", [None, "a", "0" * 64])
def test_a_file_without_its_hash_is_damaged(sha256, tmp_path):
    metadata = {"format": FORMAT, "model": "{}", **({"sha256": sha256} if sha256 else {})}
    path = tmp_path / "m"
    path.write_bytes(safetensors.numpy.save({"w": np.zeros(1)}, metadata))
    with pytest.raises(ModelFileError, match="is damaged"):
        load_model(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="only POSIX has named pipes")
def test_pipes_devices_and_folders_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zeros").symlink_to("/dev/zero")
    (tmp_path / "run" / "model.safetensors").mkdir(parents=True)
    for name, kind in (("pipe", "pipe or a device"), ("zeros", "device"), ("run", "folder")):
        with pytest.raises(ModelFileError, match=f"cannot be read: it is a .*{kind}"):
            load_model(tmp_path / name)


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
    "described",
    [
        {"sizes": [2, 2]},
        {"sizes": [2]},
        {"sizes": [2, -1]},
        {"sizes": [10**12, 10**12]},
        {"sizes": "2-1"},
        {"sizes": None},
        {"activations": ["os.system"]},
        {"activations": []},
        {"activations": 3},
        {"activations": ["identity", "identity"]},
        {"bias": False},
        {"bias": None},
        {"loss": "eval"},
        {"loss": "cross_entropy"},
        {"loss": []},
        {"dtype": "float16"},
        {"dtype": "float64"},
        {"dtype": ["float32"]},
        {"classes": ["a"]},
        {"classes": ["a", "a"]},
        {"classes": ["a", "b", "c"]},
        {"classes": [1, 2]},
        {"classes": "ab"},
        {"features": ["a"]},
        {"features": ["a", "a"]},
        {"features": [["a"], ["b"]]},
        {"image_shape": [3, 3]},
        {"image_shape": [-2, -1]},
        {"image_shape": [2]},
        {"image_shape": [0, 2]},
        {"image_shape": [1, 1, 2]},
        {"image_shape": [2.0, 1.0]},
        {"image_shape": [True, 2]},
        {"image_shape": 2},
        {"seed": "0"},
        {"seed": -1},
        {"seed": True},
        {"version": 1},
        {"version": "\x1b[2J"},
        {"label_type": "complex"},
        {"label_type": 3},
        {"label": "ab"},
        {"label": [1]},
        {"label": ["a", "b"]},
        {"preprocessing": 3},
        {"\x1b": 3},
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_the_weights_is_refused(described, saved):
    path, content = saved
    path.write_bytes(forged(content))
    assert load_model(path).network.sizes == (2, 1)
    path.write_bytes(forged(content, described=described))
    with pytest.raises(ModelFileError) as failure:
        load_model(path)
    message = failure.value.message
    assert message.startswith(f"the model file {path} does not describe a model: ")
    (key,) = described
    about = {"sizes": "sizes|layer", "dtype": "dtype|has the type", "bias": "bias", "\x1b": "x1b"}
    about = {**about, "loss": "loss", "activations": "activations"}
    assert re.search(about.get(key, key), message)
    assert message.isprintable()
    assert len(message) < 300 + len(str(path))


@pytest.mark.parametrize("key", sorted(_describe(small_model())))
def test_a_value_of_any_other_type_is_one_short_error(key, saved):
    path, content = saved
    for value in (None, True, -1, 0.5, 10**400, "\x1b" * 999, [], [[]], {}, [{"a": [0]}] * 99):
        path.write_bytes(forged(content, described={key: value}))
        optional = ("classes", "features", "image_shape", "label", "label_type", "preprocessing")
        allowed = {"seed": (10**400,), "bias": (True,)}
        if value in allowed.get(key, (None,) if key in optional else ()):
            load_model(path)
            continue
        with pytest.raises(ModelFileError) as failure:
            load_model(path)
        assert len(failure.value.message) < 400
        assert failure.value.message.isprintable()


def test_a_missing_key_is_named(saved):
    path, content = saved
    for key in _describe(small_model()):
        path.write_bytes(forged(content, left_out=key))
        named = "format version" if key == "format_version" else f"{key} is missing"
        with pytest.raises(ModelFileError, match=named):
            load_model(path)


def test_a_key_that_occurs_twice_is_an_error(saved):
    path, content = saved
    model = json.dumps(_describe(small_model()))
    path.write_bytes(forged(content, model=model[:-1] + ', "seed": 1}'))
    with pytest.raises(ModelFileError, match="the key 'seed' occurs twice"):
        load_model(path)


def test_labels_must_be_of_their_type(saved):
    path, content = saved
    for kind, classes in (
        ("integer", ["1", "x"]),
        ("boolean", ["yes", "no"]),
        ("number", ["1", "1.0"]),
    ):
        path.write_bytes(forged(content, described={"classes": classes, "label_type": kind}))
        with pytest.raises(ModelFileError, match=f"label_type is '{kind}', but classes is"):
            load_model(path)


def test_inputs_of_a_table_may_look_alike(tmp_path):
    table = Table(
        "it",
        {
            "a=b": np.asarray([0.5, 1.5, 2.5]),
            "a": np.asarray(["b", "c", "b"], dtype=object),
        },
    )
    fitted = fit_preprocessing(table, ["a=b", "a"])
    assert fitted.inputs == ("a=b", "a=b", "a=c")
    model = small_model((3, 1), preprocessing=fitted, features=fitted.inputs, scaling=None)
    model.save(tmp_path / "m")
    assert load_model(tmp_path / "m").predict(table.columns).shape == (3,)
    with pytest.raises(ConfigurationError, match="features has the name 'a=b' twice"):
        dataclasses.replace(model, preprocessing=None).save(tmp_path / "n")


@pytest.mark.skipif(resource is None, reason="only POSIX limits memory")
def test_a_file_too_large_for_the_memory_is_an_error_of_the_model(saved):
    path, content = saved
    length = 1 << 33  # sparse: the disk holds none of it
    (old,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + old])
    del header["layers.0.weights"], header["layers.0.bias"]
    del header["scaling.offset"], header["scaling.divisor"]
    header["w"] = {"dtype": "U8", "shape": [length], "data_offsets": [0, length]}
    head = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.truncate(8 + len(head) + length)
    limited = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (1 << 32, 1 << 32)); "
        "from backprop_xp.cli import main; main()"
    )
    run = subprocess.run(
        [sys.executable, "-c", limited, "summary", str(path)], capture_output=True, text=True
    )
    assert run.returncode == 4, run.stderr
    assert run.stderr == (
        f"error: there is not enough memory to read the model file {path}\n"
        "hint: close other programs, or use a machine with more memory\n"
    )


@pytest.mark.parametrize("model", ["", "[]", "null", "{}", "[" * 100_000], ids=lambda m: m[:4])
def test_a_description_that_is_none_is_refused(model, saved):
    path, content = saved
    path.write_bytes(forged(content, model=model))
    with pytest.raises(ModelFileError, match="does not describe a model"):
        load_model(path)


@pytest.mark.parametrize("name", ["scaling", "target_scaling"])
@pytest.mark.parametrize(
    ("offset", "divisor", "fault"),
    [
        (np.zeros(3), np.ones(3), "does not have 2 offsets and divisors"),
        (np.zeros(2), np.ones(1), "does not have 2 offsets and divisors"),
        (np.zeros(2), np.zeros(2), "divisor contains a number that is 0"),
        (np.full(2, np.nan), np.ones(2), "offset contains NaN"),
        (np.zeros(2), np.full(2, np.inf), "divisor contains NaN"),
        (np.zeros(2, np.float32), np.ones(2), "offset has the type float32, not float64"),
    ],
    ids=["width", "widths", "zero", "nan", "infinite", "float32"],
)
def test_a_scaling_that_cannot_be_applied_is_an_error(offset, divisor, name, fault, tmp_path):
    model = small_model((2, 2), scaling=None)
    path = tmp_path / "m"
    wrong = {f"{name}.offset": offset, f"{name}.divisor": divisor}
    forge(path, model, tensors=wrong)
    with pytest.raises(ModelFileError, match=f"does not describe a model: {name}.*{fault}"):
        load_model(path)
    with pytest.raises(ConfigurationError, match=f"this model cannot be saved: {name}.*{fault}"):
        save_model(dataclasses.replace(model, **{name: Scaling(offset, divisor)}), path)


@pytest.mark.parametrize("number", [1e-200, 1e200])
def test_a_divisor_must_be_usable_in_the_type_of_the_weights(number, tmp_path):
    scaling = Scaling(np.zeros(2), np.full(2, number))
    wrong = small_model((2, 2), scaling=scaling)
    with pytest.raises(ConfigurationError, match=r"scaling\.divisor contains a number"):
        save_model(wrong, tmp_path / "m")
    for right in (
        small_model((2, 2), scaling=scaling, dtype="float64"),
        small_model((2, 2), scaling=None, target_scaling=scaling),
    ):
        save_model(right, tmp_path / "m")
        load_model(tmp_path / "m")


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("part", ["weights", "bias"])
def test_weights_that_are_not_finite_are_neither_read_nor_written(part, number, tmp_path):
    model, path = small_model(), tmp_path / "m"
    (layer,) = model.parameters
    changed = getattr(layer, part).copy()
    changed[..., 0] = number
    fault = f"layers.0.{part} contains NaN or infinite numbers"
    forge(path, model, tensors={f"layers.0.{part}": changed})
    with pytest.raises(ModelFileError, match=fault):
        load_model(path)
    path.unlink()
    with pytest.raises(ConfigurationError, match=f"cannot be saved: {fault}") as failure:
        save_model(dataclasses.replace(model, parameters=[layer._replace(**{part: changed})]), path)
    assert "lower learning rate" in failure.value.hint
    assert not path.exists()


@pytest.mark.parametrize(
    ("tensors", "fault"),
    [
        ({"layers.1.weights": np.zeros((1, 1), np.float32)}, "'layers.1.weights' is unknown"),
        ({"layers.0.bias": None}, "layers.0.bias is missing"),
        ({"scaling.offset": np.zeros(2), "scaling.divisor": None}, "scaling.divisor is missing"),
        ({"\x1b": np.zeros(2)}, r"'\\x1b' is unknown"),
        ({"layers.0.weights": np.zeros((2, 1), np.float32)}, r"the shape \(2, 1\), not \(1, 2\)"),
        ({"layers.0.weights": np.zeros((1, 2), np.int32)}, "has the type int32, not float32"),
    ],
    ids=["layer", "bias", "scaling", "control", "shape", "type"],
)
def test_tensors_are_those_of_the_network(tensors, fault, tmp_path):
    forge(tmp_path / "m", small_model(), tensors=tensors)
    with pytest.raises(ModelFileError, match=fault):
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


@pytest.mark.parametrize("name", ["m.safetensors", "ä" * 120, "🂡" * 60, "m" * 255], ids=len)
def test_a_temporary_file_has_a_name_that_shows_what_it_is(name, tmp_path):
    found = []

    def write(file):
        found.extend(os.listdir(tmp_path))
        file.write(b"content")

    atomic_write(tmp_path / name, write)
    (temporary,) = found
    assert re.fullmatch(re.escape(f".{name[:50]}.") + r"\w{8}\.tmp", temporary)
    assert os.listdir(tmp_path) == [name]


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
