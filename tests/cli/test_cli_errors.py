"""What goes wrong is told once, in plain words, with the exit code that belongs to it."""

import gzip
import os
import struct

import numpy as np
import pytest
from command_line import (
    animals,
    done,
    idx,
    image_folder,
    refused,
    refused_alike,
    run,
    small_model,
    written,
)

from backprop_xp import (
    ConfigurationError,
    DataError,
    DeviceError,
    ModelFileError,
    Network,
    RunSettings,
    fit,
    load_dataset,
    load_model,
    prepare_run,
    save_model,
    select_device,
)
from backprop_xp.backend.devices import list_devices
from backprop_xp.data.mnist import FILES
from backprop_xp.runs.folder import RunFolder


def prepared(**settings):
    return lambda: prepare_run(RunSettings(device="cpu", **settings)).train()


# --- settings ---


@pytest.mark.parametrize(
    ("settings", "options", "said"),
    [
        ({"hidden": (0,)}, "--hidden 0", "layer 1 has the size 0"),
        ({"hidden": (5, -1)}, "--hidden 5,-1", "layer 2 has the size -1"),
        ({"activation": "rleu"}, "--activation rleu", "did you mean 'relu'"),
        ({"optimizer": "adm"}, "--optimizer adm", "did you mean 'adam'"),
        ({"loss": "crossentropy"}, "--loss crossentropy", "did you mean 'cross_entropy'"),
        ({"output": "sofmax"}, "--output sofmax", "did you mean 'softmax'"),
        ({"dtype": "float46"}, "--dtype float46", "did you mean 'float64'"),
        ({"task": "regresion"}, "--task regresion", "did you mean 'regression'"),
        ({"data": "digit"}, "digit", "did you mean 'digits'"),
        ({"backend": "numpi"}, "--backend numpi", "did you mean 'numpy'"),
        ({"learning_rate": -0.1}, "--learning-rate -0.1", "learning_rate is -0.1"),
        ({"epochs": -1}, "--epochs -1", "epochs is -1"),
        ({"seed": -1}, "--seed -1", "seed is -1"),
        ({"batch_size": 2000}, "--batch-size 2000", "training data has 1078 rows"),
        ({"scaling": "log"}, "--scaling log", "unknown scaling 'log'"),
        ({"validation_fraction": 1.5}, "--validation-fraction 1.5", "validation_fraction is 1.5"),
        ({"loss": "cross_entropy", "output": "tanh"}, "--loss cross_entropy --output tanh", ""),
        (
            {"loss": "cross_entropy", "output": "sigmoid"},
            "--loss cross_entropy --output sigmoid",
            "use the output 'softmax', or the loss 'binary_cross_entropy'",
        ),
        ({"momentum": 0.5}, "--momentum 0.5", "momentum"),
        ({"task": "regression"}, "--task regression", "labeled images"),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_a_setting_that_cannot_be_is_refused_before_any_training(settings, options, said, tmp_path):
    out = tmp_path / "out"
    args = ("train", *options.split(), "--device", "cpu", "--out", out)
    assert said in refused_alike(ConfigurationError, prepared(**settings), *args)
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--lerning-rate 1", "--learning-rate"),
        ("--epochs many", "'many' is not a valid integer"),
        ("--epochs 1.5", "'1.5' is not a valid integer"),
        ("--hidden 30,x", "not a list of whole numbers such as 30,20"),
        ("digits mnist", "unexpected extra argument"),
        ("--epochs", "requires an argument"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_refused(options, said):
    # An option that swallows the next word would also swallow --quiet: it stands at the end.
    result = run("train", "--json", *options.split())
    assert (result.code, result.json["error"]["kind"]) == (2, "usage")
    error = result.json["error"]
    assert said in error["message"] + error["hint"]
    assert error["hint"].endswith(" --help' shows the options")
    assert result.err.count("\n") == 2


def test_an_unknown_command_is_refused():
    message, hint = refused(2, "usage", "trian")
    assert message == "there is no command 'trian'"
    assert hint == "did you mean 'train'? 'backprop-xp --help' lists the commands"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("epoch = 3", "did you mean 'epochs'?"),
        ("epochs = 3\nseed = = 1", "line 2"),
        ("epochs = 2.7", "epochs in {} is 2.7 | give a whole number"),
        ("epochs = true", "epochs in {} is True | give a whole number"),
        ("epochs = []", "epochs in {} is [] | give a whole number"),
        ("learning_rate = true", "learning_rate in {} is True | give a number"),
        ("learning_rate = '0.1'", "learning_rate in {} is '0.1' | give a number"),
        ("bias = 1", "bias in {} is 1 | give true or false"),
        ("data = ['digits']", "data in {} is ['digits'] | give a text"),
        ("hidden = [30, 20.5]", "entry 2 of hidden in {} is 20.5 | give a whole number"),
        ("hidden = true", "hidden in {} is True | give a list such as [30, 20]"),
        ("hidden = 30", "hidden in {} is 30 | give a list such as [30, 20]"),
        ("[train]\nepochs = 3", "unknown key"),
        (b"\xff", "not valid TOML"),
    ],
)
def test_a_configuration_file_that_cannot_be_meant_is_refused(content, said, tmp_path):
    file = written(tmp_path / "c.toml", content)
    result = run("train", "--json", "--config", file, "--epochs", 0)
    assert result.code == 2
    error = result.json["error"]
    assert said.format(file) in f"{error['message']} | {error['hint']}"


def test_a_configuration_file_may_write_a_number_where_a_text_is_meant(tmp_path):
    file = written(tmp_path / "c.toml", "scaling = 16\nlearning_rate = 1\nepochs = 0")
    settings = done("train", "--config", file, "--json").json["settings"]
    assert (settings["scaling"], settings["learning_rate"]) == ("16", 1.0)


def test_a_configuration_file_that_is_missing_is_named(tmp_path):
    message, _ = refused(2, "configuration", "train", "--config", tmp_path / "c.toml")
    assert f"{tmp_path / 'c.toml'} cannot be read: No such file" in message


# --- data ---


@pytest.mark.parametrize("name", ["gone.csv", "gone.npz", "gone/"])
def test_data_that_is_missing_is_named(name, tmp_path):
    path = f"{tmp_path}/{name}"
    said = refused_alike(
        *(DataError, prepared(data=path, label="x" if name == "gone.csv" else None)),
        *("train", path, *(("--label", "x") if name == "gone.csv" else ())),
    )
    assert path in said


IMAGES, LABELS = FILES[:2]
WHOLE = idx(np.zeros((120, 3, 3), np.uint8))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (IMAGES, WHOLE[:-7], "promises 1080 bytes (120 x 3 x 3), but the file holds 1073"),
        (IMAGES, WHOLE[:9], "the header is cut off: it needs 16 bytes, but the file holds 9"),
        (IMAGES, b"", "the header is cut off"),
        (IMAGES, gzip.compress(WHOLE, mtime=0)[:-9], "gzip data is damaged"),
        (IMAGES, b"\x89PNG" + WHOLE, "not an IDX file: it begins with 0x89504e47"),
        (IMAGES, b"\0\0\x0d" + WHOLE[3:], "type code 0x0d (32-bit floats)"),
        (IMAGES, struct.pack(">HBB3I", 0, 8, 3, 121, 3, 3) + WHOLE[16:], "promises 1089 bytes"),
        (IMAGES, struct.pack(">HBB3I", 0, 8, 3, 119, 3, 3) + WHOLE[16:], "more bytes follow"),
        (IMAGES, struct.pack(">HBB3I", 0, 8, 3, *[2**32 - 1] * 3) + WHOLE[16:], "promises 7922"),
        (IMAGES, struct.pack(">HBB3I", 0, 8, 3, 0, 3, 3), "size 0"),
        (LABELS, idx(np.zeros(119, np.uint8)), "120 images"),
        (LABELS, WHOLE, "are the file names swapped?"),
        (FILES[3], idx(np.full(30, 7, np.uint8)), "the label '7' is not a known class"),
        (FILES[2], idx(np.zeros((30, 2, 2), np.uint8)), "must belong to one data set"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)}_bytes",
)
def test_a_folder_of_idx_files_that_is_damaged_is_refused(name, content, said, tmp_path):
    folder = image_folder(tmp_path / "rows")
    written(folder / name, content)
    text = refused_alike(
        *(DataError, lambda: load_dataset(str(folder))),
        *("train", folder, "--out", tmp_path / "new" / "out"),
    )
    assert said in text
    assert str(folder / name) in text or "must belong to one data set" in text
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("1,2,", "line 62, column 'kind': the label is missing"),
        ("1,wide,cat", "line 62, column 'width': 'wide' is not a number"),
        ("1,2", "line 62: 2 cells, but the header names 3 columns"),
        ("1,2,cat,3", "line 62: 4 cells"),
        ("1,-inf,cat", "line 62, column 'width': the number is infinite or too large"),
        ("1,2,dodo", "the class 'dodo' cannot be split: 1 row"),
        ('1,2,"cat', "line 62"),
    ],
)
def test_a_table_with_a_bad_row_is_refused_with_its_place(row, said, tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join([*animals(), row]))
    text = refused_alike(
        *(DataError, prepared(data=str(table), label="kind", batch_size=4)),
        *("train", table, "--label", "kind", "--batch-size", 4, "--out", tmp_path / "out"),
    )
    assert said in text
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("row", ["1,,cat", "nan,2,cat"])
def test_a_missing_value_is_an_error_only_if_it_is_asked_for(row, tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join([*animals(), row]))
    column = "width" if row == "1,,cat" else "height"
    text = refused_alike(
        *(DataError, prepared(data=str(table), label="kind", missing="error")),
        *("train", table, "--label", "kind", "--missing", "error", "--out", tmp_path / "out"),
    )
    assert f"{table}, line 62, column {column!r}: the value is missing" in text
    assert "--missing impute" in text
    assert not (tmp_path / "out").exists()
    told = done("train", table, "--label", "kind", "--epochs", 0, "--json").json["data"]
    assert told["train"] + told["validation"] == 61


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"x": [[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]]}, "nan is in row 1, column 1"),
        ({"x": [[1.0, 2.0], [3.0, 4.0], [np.inf, 6.0]]}, "inf is in row 2, column 0"),
        ({"y": [0, 1]}, "'x' has 3 rows, but 'y' has the shape (2,)"),
        ({"y": [0.5, 1.5, 2.5]}, "the class '0.5' cannot be split: 1 row"),
        ({"y": [0.0, 1.0, np.inf]}, "row 2: inf is not a class"),
        ({"y": np.asarray([None, 1, 2])}, "holds Python objects, which are never loaded"),
        ({"x": [1.0, 2.0, 3.0]}, "has the shape (3,)"),
    ],
    ids=["nan", "infinity", "unequal", "fractions", "infinite class", "objects", "flat"],
)
def test_an_archive_that_is_damaged_is_refused_with_the_place(changed, said, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **{"x": np.ones((3, 2)), "y": np.asarray([0, 1, 1]), **changed})
    task = "classification"
    text = refused_alike(
        *(DataError, lambda: load_dataset(str(path), task=task)), "train", path, "--task", task
    )
    assert said in text
    assert str(path) in text


def test_labels_out_of_range_are_refused_with_their_row():
    network = Network((2, 3), "softmax")
    with pytest.raises(DataError, match="class index in row 1 of the training data is 3") as error:
        fit(network, (np.zeros((2, 2)), np.asarray([0, 3])))
    assert error.value.hint.startswith("give indices from 0 to 2")


def test_a_label_that_the_model_does_not_know_is_refused_with_its_line(tmp_path):
    model = tmp_path / "m.safetensors"
    known = {"classes": ("ant", "bee"), "features": ("height", "width")}
    save_model(small_model((2, 2), "softmax", **known), model)
    table = written(tmp_path / "a.csv", "\n".join(animals(3)))
    message, hint = refused(3, "data", "evaluate", model, table, "--label", "kind")
    assert message == f"{table}, line 4, column 'kind': the label 'cat' is not a known class"
    assert hint == "the classes are: ant, bee"


# --- models ---


def test_a_model_file_that_is_missing_damaged_or_something_else_is_refused(tmp_path):
    whole = tmp_path / "m.safetensors"
    save_model(small_model(), whole)
    content = whole.read_bytes()
    for name, held, said in (
        ("gone", None, "cannot be read: No such file"),
        ("cut", content[:-1], "bytes of tensors, but its header describes"),
        ("flipped", content[:-1] + bytes([content[-1] ^ 1]), "does not match its SHA-256"),
        ("text", b"height,width\n", "not a model file of this package"),
    ):
        path = tmp_path / name if held is None else written(tmp_path / name, held)
        for command in ("evaluate", "predict"):
            text = refused_alike(
                ModelFileError, lambda path=path: load_model(path), command, path, "digits"
            )
            assert str(path) in text
            assert said in text


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_data_with_other_columns_than_the_model_s_is_refused(command, tmp_path):
    model = small_model((2, 3), "softmax", classes=("0", "1", "2"))
    save_model(model, tmp_path / "m.safetensors")
    np.savez(tmp_path / "a.npz", x=np.ones((4, 5)), y=np.asarray([0, 1, 2, 0]))
    text = refused_alike(
        *(DataError, lambda: model.predict(np.ones((4, 5)))),
        *(command, tmp_path / "m.safetensors", tmp_path / "a.npz"),
    )
    assert "shape (4, 5), but (n, 2) is expected" in text


def test_a_table_without_a_column_of_the_model_is_refused(tmp_path):
    model = small_model((2, 1), features=("height", "depth"))
    save_model(model, tmp_path / "m.safetensors")
    table = written(tmp_path / "a.csv", "\n".join(animals(3)))
    message, _ = refused(3, "data", "predict", tmp_path / "m.safetensors", table)
    assert "there is no column 'depth'; the columns are: height, width, kind" in message


def test_a_model_of_images_says_that_it_takes_no_table(tmp_path):
    model = small_model((144, 2), "softmax", classes=("a", "b"), image_shape=(12, 12))
    save_model(model, tmp_path / "m.safetensors")
    table = written(tmp_path / "houses.csv", "area,town\n1.5,\n,York\n")
    message, hint = refused(3, "data", "predict", tmp_path / "m.safetensors", table)
    assert "the model was trained on 144 pixels" in message
    assert "not on a table with 2 columns" in message
    assert "array x has 144 numbers in each row" in hint


def test_all_columns_that_are_missing_are_named_at_once(tmp_path):
    model = small_model((3, 1), features=("height", "depth", "age"))
    save_model(model, tmp_path / "m.safetensors")
    table = written(tmp_path / "few.csv", "\n".join(animals(3)))
    message, hint = refused(3, "data", "predict", tmp_path / "m.safetensors", table)
    assert "there are no columns 'depth', 'age'; the columns are: height" in message
    assert "add what is missing" in hint


def test_augmenting_rows_of_numbers_says_what_is_needed(tmp_path):
    np.savez(tmp_path / "rgb.npz", x=np.ones((20, 2, 2, 3)), y=np.arange(20) % 2)
    message, hint = refused(
        *(2, "configuration", "train", tmp_path / "rgb.npz", "--augment", "shift"),
    )
    assert "needs gray images (an array x of shape n, height, width)" in message
    assert message.endswith("these are rows of 12 numbers")
    assert hint.startswith("leave --augment out")


@pytest.mark.parametrize("option", ["--drop", "--categorical"])
def test_a_label_in_a_list_of_columns_is_to_be_removed_from_it(tmp_path, option):
    table = written(tmp_path / "a.csv", "\n".join(animals(12)))
    _, hint = refused(2, "configuration", "train", table, "--label", "kind", option, "kind")
    assert hint.startswith(f"remove 'kind' from {option}")


def test_a_fraction_of_1_leaves_nothing_to_train_on():
    _, hint = refused(2, "configuration", "train", "--validation-fraction", 1)
    assert hint == "give a number from 0 to below 1"


def test_a_wrong_value_in_a_variable_is_not_blamed_on_the_option():
    result = run("train", BACKPROP_XP_EPOCHS="five")
    assert result.code == 2
    assert "Invalid value for BACKPROP_XP_EPOCHS: 'five'" in result.err
    assert "unset the environment variable BACKPROP_XP_EPOCHS" in result.err
    option = run("train", "--epochs", "five", BACKPROP_XP_EPOCHS="5")
    assert "'--epochs'" in option.err
    assert "BACKPROP_XP" not in option.err


# --- the machine ---


def test_a_folder_that_cannot_be_written_to_is_refused_before_the_training(tmp_path):
    file = written(tmp_path / "file", b"kept")
    for out in (file, file / "below", file / "far" / "below"):
        text = refused_alike(
            ConfigurationError, lambda out=out: RunFolder(out), "train", "--out", out
        )
        assert f"the folder {out} cannot be written to" in text
    assert (file.read_bytes(), os.listdir(tmp_path)) == (b"kept", ["file"])
    text = refused_alike(ConfigurationError, lambda: RunFolder(""), "train", "--out", "")
    assert "the name of the folder for the run is empty" in text


def test_a_gpu_that_was_asked_for_is_used_or_refused_but_never_replaced():
    gpus = [row for row in list_devices() if row.backend == "cupy" and row.usable]
    if gpus:
        told = done("train", "--device", "cuda", "--epochs", 1, "--json").json
        assert (told["device"], told["backend"]) == ("cuda:0", "cupy")
        return
    text = refused_alike(
        DeviceError, lambda: select_device("cuda"), "train", "--device", "cuda", "--epochs", 1
    )
    assert "cuda:0 cannot be used: " in text


def test_a_backend_that_is_missing_is_refused_with_its_installation():
    rows = list_devices()
    usable = {row.backend for row in rows if row.usable}
    for backend, row in {row.backend: row for row in rows if row.backend not in usable}.items():
        for command in (("train", "--epochs", 0), ("check",)):
            message, hint = refused(6, "device", *command, "--backend", backend)
            assert row.reason in message
            assert hint == row.remedy


# --- faults ---


def test_debug_shows_the_traceback_and_keeps_the_exit_code():
    result = run("train", "--hidden", 0, "--debug", "--json")
    assert result.code == 2
    assert result.err.startswith("Traceback (most recent call last):")
    assert result.json["error"]["kind"] == "configuration"


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        (RuntimeError("out of cheese"), "unexpected", "unexpected RuntimeError: out of cheese"),
        (MemoryError(), "memory", "there is not enough memory"),
        (OSError(28, "No space left on device"), "system", "No space left on device"),
        (KeyboardInterrupt(), "interrupted", "interrupted"),
    ],
)
def test_a_fault_of_the_program_is_told_without_a_traceback(fault, kind, said, monkeypatch):
    def fail(settings):
        raise fault

    monkeypatch.setattr("backprop_xp.runs.run.prepare_run", fail)
    result = run("train", "--json")
    assert result.code == (130 if kind == "interrupted" else 1)
    assert result.json["error"]["kind"] == kind
    assert said in result.json["error"]["message"]
    assert "Traceback" not in result.err
