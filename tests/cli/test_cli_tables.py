"""Tables of all kinds on the command line: trained on as they come, predicted, and measured."""

import csv
import gzip
import random
import re

import numpy as np
import pytest
from command_line import animals, done, refused, refused_alike, run, written

from backprop_xp import DataError, RunSettings, load_model, prepare_run, train
from backprop_xp.data.table_format import TableFormat

SHORT = ("--epochs", 2, "--hidden", 4, "--seed", 0, "--device", "cpu")


def table_of(lines):
    """Return the columns of lines of a table, as text."""
    header, *rows = csv.reader(lines)
    return {name: [row[k] for row in rows] for k, name in enumerate(header)}


def read(path, separator=","):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter=separator))


# --- a regression in its own units ---


def houses(n=600):
    """Return the lines of a table of prices around 100,000, by four columns of other sizes."""
    rng = random.Random(0)
    lines = ["area,rooms,age,distance,price"]
    for _ in range(n):
        a, b, c, d = (rng.gauss(0, 1) for _ in range(4))
        price = 100_000 + 80_000 * (a + 0.5 * b - 0.4 * c + 0.3 * a * d) / 1.2
        lines.append(
            f"{80 + 30 * a:.2f},{4 + b:.3f},{40 + 10 * c:.2f},{12 + 4 * d:.3f},{price:.0f}"
        )
    return lines


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    """The folder of a run on house prices, held-out rows in it, and the result of the training."""
    folder = tmp_path_factory.mktemp("prices")
    lines = houses()
    table = written(folder / "h.csv", "\n".join(lines[:501]))
    written(folder / "new.csv", "\n".join([lines[0], *lines[501:]]))
    result = done("train", table, "--label", "price", "--seed", 0, "--out", folder / "run")
    return folder, result


def test_prices_are_learned_from_the_name_of_their_column_alone(prices):
    folder, result = prices
    assert re.search(r"^task: regression, because .*--task classification", result.err, re.M)
    assert re.match(r"validation R² 0\.9[5-9]\d\d, MAE [\d,.]+, RMSE ", result.out.splitlines()[1])
    told = done("evaluate", folder / "run", folder / "new.csv", "--json").json
    assert told["count"] == 100
    assert told["r2"] >= 0.95
    predicted = done("predict", folder / "run", folder / "new.csv").out.split()
    targets = np.asarray([float(row[-1]) for row in read(folder / "new.csv")[1:]])
    errors = np.asarray(predicted, dtype=float) - targets
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(told["rmse"], rel=1e-4)
    assert told["rmse"] < 0.25 * targets.std()
    shown = done("evaluate", folder / "run", folder / "new.csv").out
    for name, key in (("R²", "r2"), ("MAE", "mae"), ("RMSE", "rmse")):
        assert float(re.search(rf"{name} ([\d.]+)", shown)[1]) == pytest.approx(told[key], rel=1e-3)


def test_large_predictions_are_printed_with_more_digits(prices):
    folder, _ = prices
    asked = ("predict", folder / "run", folder / "new.csv")
    printed = np.asarray(done(*asked).out.split(), dtype=float)
    exact = np.ravel(done(*asked, "--json").json["predictions"])
    assert np.abs(printed - exact)[exact >= 1e5].max() < 1e-4


def test_the_losses_of_a_regression_are_in_the_units_of_the_target(prices, tmp_path):
    folder, _ = prices
    options = ("--label", "price", *SHORT, "--evaluate-training", "--json")
    told = done("train", folder / "h.csv", *options).json
    for part in ("train", "validation"):
        assert told[part]["loss"] == pytest.approx(told[part]["rmse"] ** 2 / 2, rel=1e-4)
        assert told["epochs"][-1][f"{part}_loss"] == pytest.approx(told[part]["loss"], rel=1e-4)


def test_several_targets_are_named_in_one_option(tmp_path):
    rng = random.Random(2)
    rows = [(rng.gauss(0, 1), rng.gauss(0, 1)) for _ in range(200)]
    lines = [f"{a:.4f},{5e4 + 2e4 * a:.1f},{b:.4f},{0.03 - 0.01 * b:.5f}" for a, b in rows]
    table = written(tmp_path / "t.csv", "\n".join(["a,price,b,rent", *lines]))
    result = done("train", table, "--label", "rent,price", "--seed", 0, "--out", tmp_path / "run")
    assert "validation rent: R² 0.9" in result.out
    assert "; price: R² 0.9" in result.out
    told = done("evaluate", tmp_path / "run", table, "--json").json
    assert [row["name"] for row in told["targets"]] == ["rent", "price"]
    assert min(row["r2"] for row in told["targets"]) > 0.9
    assert 1 < told["targets"][1]["rmse"] < 2e4
    assert told["targets"][0]["rmse"] < 0.01
    shown = done("evaluate", tmp_path / "run", table).out
    for row in told["targets"]:
        assert re.search(rf"^{row['name']} +{row['r2']:.4f} ", shown, re.M)
    done("predict", tmp_path / "run", table, "--out", tmp_path / "p.csv")
    found = read(tmp_path / "p.csv")
    assert found[0] == ["rent", "price"]
    predicted = np.asarray(found[1:], dtype=float)
    assert predicted == pytest.approx(
        load_model(tmp_path / "run" / "model.safetensors").predict(
            {"a": [a for a, _ in rows], "b": [b for _, b in rows]}
        ),
        rel=1e-2,
        abs=1e-3,
    )


# --- columns of every kind ---


def passengers(n=300):
    """Return the lines of a table with text, booleans, gaps, row numbers, names and dates."""
    rng = random.Random(0)
    lines = ["PassengerId,Name,Class,Sex,Age,Fare,Port,Married,Boarded,Ship,Survived"]
    for k in range(n):
        sex, level = rng.choice(("male", "female")), rng.choice((1, 2, 3))
        age = "" if rng.random() < 0.2 else f"{rng.uniform(1, 80):.0f}"
        port = rng.choices(("S", "C", "Q", ""), (70, 20, 8, 2))[0]
        survived = rng.random() < (0.9 if sex == "female" else 0.2) - 0.08 * (level - 2)
        lines.append(
            f'{k + 1},"Person, {k}",{level},{sex},{age},{rng.expovariate(1 / 30):.2f},{port},'
            f"{rng.random() < 0.5},1912-04-{rng.randint(1, 28):02d},Titanic,"
            f"{'yes' if survived else 'no'}"
        )
    return lines


@pytest.fixture(scope="module")
def titanic(tmp_path_factory):
    """The folder of a run on passengers, with the table, and the result of the training."""
    folder = tmp_path_factory.mktemp("titanic")
    table = written(folder / "t.csv", "\n".join(passengers()))
    result = done("train", table, "--label", "Survived", "--seed", 0, "--out", folder / "run")
    return folder, result


def test_columns_that_cannot_help_are_left_out_by_name(titanic):
    folder, result = titanic
    for name in ("PassengerId", "Name", "Boarded", "Ship"):
        assert f"left out '{name}': " in result.err
    model = load_model(folder / "run" / "model.safetensors")
    wanted = ("Class", "Sex", "Age", "Fare", "Port", "Married")
    assert model.preprocessing.names == wanted
    shown = done("summary", folder / "run").out
    for text in ("Sex          2 categories: female, male", "missing values become", "left out: "):
        assert text in shown
    assert done("evaluate", folder / "run", folder / "t.csv", "--json").json["accuracy"] > 0.75


# An unseen category, missing values, and one where the training rows had none.
NEW = (
    '901,"A, b",3,male,22,7.25,S,False,1912-04-10,Titanic',
    "902,C,1,other,,80,,True,,Titanic",
    "903,D,2,female,,,X,True,1912-04-11,Olympic",
)


def test_the_command_line_and_python_predict_identical_numbers(titanic, tmp_path):
    folder, _ = titanic
    lines = [passengers(1)[0].rpartition(",")[0], *NEW]
    table = written(tmp_path / "new.csv", "\n".join(lines))
    result = done("predict", folder / "run", table, "--outputs", "--json")
    told = result.json
    warnings = [line for line in result.err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    for text in ("'Sex' has a category", "'Port' has a category", "'Fare' has no value"):
        assert text in warnings[0]
    model = load_model(folder / "run" / "model.safetensors")
    columns = table_of(lines)
    names = [*model.preprocessing.names[::-1], "Name"]  # another order, and fewer of them
    numbers = ("Class", "Age", "Fare")
    shuffled = {
        name: [
            (float(cell) if name in numbers else cell == "True" if name == "Married" else cell)
            if cell
            else None
            for cell in columns[name]
        ]
        for name in names
    }
    frames = [shuffled]
    try:
        import pandas
    except ImportError:
        pass
    else:
        frames.append(pandas.DataFrame(shuffled))
    for frame in frames:
        with pytest.warns(UserWarning, match="did not occur in training"):
            assert model.predict_proba(frame).tolist() == told["outputs"]
        with pytest.warns(UserWarning, match="did not occur in training"):
            assert model.predict(frame).tolist() == told["predictions"]


def test_a_column_that_is_missing_is_named(titanic, tmp_path):
    folder, _ = titanic
    model = load_model(folder / "run" / "model.safetensors")
    lines = ["Class,Sex,Age,Fare,Married", "3,male,22,7.25,False"]
    table = written(tmp_path / "new.csv", "\n".join(lines))
    text = refused_alike(DataError, lambda: model.predict(table), "predict", folder / "run", table)
    assert f"{table}: there is no column 'Port'; the columns are: Class, Sex, Age" in text


def test_columns_are_chosen_by_name(tmp_path):
    table = written(tmp_path / "t.csv", "\n".join(passengers(100)))
    options = ("--drop", "Fare,Age", "--categorical", "Class", "--numeric", "PassengerId")
    done("train", table, "--label", "Survived", *options, *SHORT, "--out", tmp_path / "run")
    used = load_model(tmp_path / "run" / "model.safetensors").preprocessing.columns
    assert [column.name for column in used] == ["PassengerId", "Class", "Sex", "Port", "Married"]
    assert used[1].categories == ("1", "2", "3")
    assert used[0].categories is None
    told = done("train", table, "--label", "Survived", "--missing", "drop", *SHORT, "--json").json
    complete = [line for line in passengers(100)[1:] if ",," not in line]
    assert told["data"]["train"] + told["data"]["validation"] == len(complete) < 100
    assert f"{100 - len(complete)} rows with missing values left out" in "".join(
        told["data"]["notes"]
    )


# --- predict --out ---


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    """A folder with a table of animals and a run on it."""
    folder = tmp_path_factory.mktemp("zoo")
    table = written(folder / "animals.csv", "\n".join(animals()))
    done("train", table, "--label", "kind", "--seed", 0, "--out", folder / "run")
    return folder


def test_predictions_are_a_table_with_a_header(zoo, tmp_path):
    told = done("predict", zoo / "run", zoo / "animals.csv", "--outputs", "--json").json
    asked = ("predict", zoo / "run", zoo / "animals.csv", "--out")
    result = done(*asked, tmp_path / "p.csv", "--quiet")
    assert result.out == f"60 predictions in {tmp_path / 'p.csv'}\n"
    assert read(tmp_path / "p.csv") == [["kind"], *([name] for name in told["predictions"])]
    done(*asked, tmp_path / "p.tsv", "--probabilities")
    header, *rows = read(tmp_path / "p.tsv", "\t")
    names = [f"probability {name}" for name in ("ant", "bee", "cat")]
    assert header == ["kind", *names]
    assert [row[0] for row in rows] == told["predictions"]
    written_numbers = np.asarray([row[1:] for row in rows], dtype=np.float32)
    assert written_numbers.tolist() == np.asarray(told["outputs"], dtype=np.float32).tolist()


def test_the_predictions_open_in_pandas(zoo, tmp_path):
    pandas = pytest.importorskip("pandas")
    options = ("--probabilities", "--keep-columns", "--out", tmp_path / "p.csv")
    done("predict", zoo / "run", zoo / "animals.csv", *options)
    frame, given = pandas.read_csv(tmp_path / "p.csv"), pandas.read_csv(zoo / "animals.csv")
    names = [f"probability {name}" for name in ("ant", "bee", "cat")]
    assert list(frame.columns) == ["height", "width", "kind", "predicted kind", *names]
    pandas.testing.assert_frame_equal(frame[["height", "width", "kind"]], given)
    assert np.allclose(frame[names].sum(axis=1), 1.0)
    model = load_model(zoo / "run" / "model.safetensors")
    assert frame["predicted kind"].tolist() == model.predict(given).tolist()


def test_the_columns_that_are_kept_are_written_as_they_were(tmp_path):
    rng = random.Random(0)
    lines = ["zip;size;key;note;y"]
    for k in range(40):
        note = f'"a; ""{k % 3}"", b"'
        lines.append(
            f"{k % 7:05d};{rng.gauss(0, 1):.3f}0;{10**17 + k};{note};{'jö'[k % 2]}".replace(
                ".", ","
            )
        )
    table = written(tmp_path / "t.csv", "\n".join(lines))
    done("train", table, "--label", "y", *SHORT, "--out", tmp_path / "run")
    done("predict", tmp_path / "run", table, "--keep-columns", "--out", tmp_path / "p.csv")
    header, *rows = read(tmp_path / "p.csv")
    assert header == ["zip", "size", "key", "note", "y", "predicted y"]
    given = list(csv.reader(lines, delimiter=";"))[1:]
    assert [row[:5] for row in rows] == [
        [row[0], row[1].replace(",", "."), *row[2:]] for row in given
    ]
    assert {row[5] for row in rows} <= {"j", "ö"}


def test_a_file_that_predictions_cannot_go_to_is_one_error(zoo, tmp_path):
    asked = ("predict", zoo / "run", zoo / "animals.csv", "--device", "cpu")
    gone = tmp_path / "gone" / "p.csv"
    message, _ = refused(2, "configuration", *asked, "--out", gone)
    assert f"{gone} cannot be written" in message
    message, _ = refused(2, "configuration", *asked, "--out", tmp_path / "p.xlsx")
    assert "p.xlsx: predictions are written as .csv or .tsv" in message
    before = (zoo / "animals.csv").read_bytes()
    message, _ = refused(2, "usage", *asked, "--out", zoo / "animals.csv")
    assert "would replace the data" in message
    assert (zoo / "animals.csv").read_bytes() == before
    assert "--out" in refused(2, "usage", *asked, "--keep-columns")[0]


def test_a_regression_has_no_probabilities_to_write(prices, tmp_path):
    folder, _ = prices
    options = ("--probabilities", "--out", tmp_path / "p.csv", "--device", "cpu")
    message, _ = refused(
        2, "configuration", "predict", folder / "run", folder / "new.csv", *options
    )
    assert message == "a regression has no probabilities"
    assert not (tmp_path / "p.csv").exists()


# --- evaluate ---


def test_each_class_is_measured_and_counted(titanic):
    folder, _ = titanic
    asked = ("evaluate", folder / "run", folder / "t.csv")
    told = done(*asked, "--json").json
    predicted = done("predict", folder / "run", folder / "t.csv", "--json").json["predictions"]
    actual = table_of(passengers())["Survived"]
    counts = [
        [
            sum(a == t and p == q for a, p in zip(actual, predicted, strict=True))
            for q in ("no", "yes")
        ]
        for t in ("no", "yes")
    ]
    assert told["confusion"] == counts
    (no, yes) = told["classes"]
    assert (no["name"], no["support"], yes["support"]) == ("no", sum(counts[0]), sum(counts[1]))
    assert yes["precision"] == pytest.approx(counts[1][1] / (counts[0][1] + counts[1][1]))
    assert yes["recall"] == pytest.approx(counts[1][1] / sum(counts[1]))
    f1 = 2 * yes["precision"] * yes["recall"] / (yes["precision"] + yes["recall"])
    assert yes["f1"] == pytest.approx(f1)
    assert told["macro"]["recall"] == pytest.approx((no["recall"] + yes["recall"]) / 2)
    shown = done(*asked).out.splitlines()
    row = next(line for line in shown if line.startswith("yes "))
    assert row.split()[1:5] == [
        str(yes["support"]),
        *(f"{yes[name]:.4f}" for name in ("precision", "recall", "f1")),
    ]
    assert [line.split() for line in shown[-2:]] == [
        [name, *map(str, row)] for name, row in zip(("no", "yes"), counts, strict=True)
    ]


def test_a_run_folder_is_taken_for_its_model_and_the_label_is_remembered(zoo, tmp_path):
    model, table = zoo / "run" / "model.safetensors", zoo / "animals.csv"
    by_file = done("evaluate", model, table, "--label", "kind", "--json").json
    assert done("evaluate", zoo / "run", table, "--json").json == by_file | {
        "model": str(zoo / "run")
    }
    other = "\n".join(animals()).replace("kind", "species")
    renamed = written(tmp_path / "renamed.csv", other)
    assert "--label" in refused(3, "data", "evaluate", zoo / "run", renamed, "--device", "cpu")[1]
    by_name = done("evaluate", zoo / "run", renamed, "--label", "species", "--json").json
    assert by_name["confusion"] == by_file["confusion"]
    shown = done("trace", "--model", zoo / "run", "--data", table, "--sample", 3, "--json").json
    assert shown["samples"][0]["label"] == animals()[4].split(",")[2]
    assert shown["optimizer"]["name"] == "adam"
    empty = tmp_path / "empty"
    empty.mkdir()
    message, _ = refused(4, "model", "evaluate", empty, table, "--device", "cpu")
    assert str(empty) in message


def test_classes_three_and_three_point_zero_are_one(tmp_path):
    rows = [(k % 5 + 0.25 * (k % 3), k % 3) for k in range(60)]
    whole = written(tmp_path / "a.csv", "\n".join(["x,y", *(f"{x},{y}" for x, y in rows)]))
    point = written(tmp_path / "b.csv", "\n".join(["x,y", *(f"{x},{y}.0" for x, y in rows)]))
    done("train", whole, "--label", "y", *SHORT, "--out", tmp_path / "run")
    first, second = (
        done("evaluate", tmp_path / "run", table, "--json").json for table in (whole, point)
    )
    assert first == second | {"data": str(whole)}


# --- how a file is written ---


def dialect(tmp_path, name, text, encoding="utf-8"):
    content = text.encode(encoding)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize(
    ("name", "change", "encoding", "options", "note"),
    [
        ("t.csv", (",", ";"), "utf-8", (), "separated by ';'"),
        ("t.csv", (",", "|"), "utf-8", (), "separated by '|'"),
        ("t.tsv", (",", "\t"), "utf-8", (), "separated by tabs"),
        ("t.csv", (",", ";"), "utf-8", ("--separator", ";"), ""),
        ("t.txt", (",", "\t"), "utf-8", ("--separator", "tab"), ""),
        ("t.csv", None, "utf-8-sig", (), ""),
        ("t.csv", None, "utf-16", (), "utf-16"),
        ("t.csv.gz", None, "utf-8", (), ""),
        ("t.csv", ("cat", "chat é"), "latin-1", ("--encoding", "latin-1"), ""),
        ("t.csv", ("height,width,kind\n", ""), "utf-8", ("--no-header",), ""),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, tuple) else value,
)
def test_a_file_is_read_however_it_is_written(name, change, encoding, options, note, zoo, tmp_path):
    text = "\n".join(animals())
    table = dialect(tmp_path, name, text.replace(*change) if change else text, encoding)
    label = "c3" if "--no-header" in options else "kind"
    result = done("train", table, "--label", label, *options, *SHORT, "--out", tmp_path / "run")
    assert note in result.err
    told = done("evaluate", tmp_path / "run", table, *options, "--device", "cpu", "--json").json
    plain = done(
        *("train", zoo / "animals.csv", "--label", "kind", *SHORT, "--out", tmp_path / "plain"),
    )
    assert result.out.splitlines()[1].split(";")[0] == plain.out.splitlines()[1].split(";")[0]
    same = done("evaluate", tmp_path / "plain", zoo / "animals.csv", "--device", "cpu", "--json")
    assert (told["confusion"], told["loss"]) == (same.json["confusion"], same.json["loss"])


def test_decimal_commas_are_detected_or_given(zoo, tmp_path):
    text = "\n".join(animals()).replace(",", ";").replace(".", ",")
    table = written(tmp_path / "t.csv", text)
    plain = done("train", zoo / "animals.csv", "--label", "kind", *SHORT).out.splitlines()[1]
    for options in ((), ("--separator", ";", "--decimal", ",")):
        result = done("train", table, "--label", "kind", *options, *SHORT)
        assert result.out.splitlines()[1] == plain
    message, _ = refused(2, "configuration", "train", table, "--label", "kind", "--decimal", "x")
    assert "the decimal sign is 'x'" in message


# --- what cannot be used ---


def bad_tables():
    rows = [f"{k % 7}.5,{k % 5 - 2},{'jn'[k % 2]}" for k in range(100)]
    with_text = [f"{k % 7}.5,{k}.25,{'jn'[k % 2]}" for k in range(10_000)]
    with_text[7_000] = "1.5,about 12,j"
    keys = [f"{k % 7}.5,key {k % 10_000},{'jn'[k % 2]}" for k in range(30_000)]
    gap = [*rows[:40], "1.5,2,", *rows[40:]]
    infinite = [*rows[:40], "1.5,inf,j", *rows[40:]]
    numbers = [f"{k % 7}.5,{k % 5 - 2},{k}.5" for k in range(100)]
    return {
        "one class": ([row[:-1] + "j" for row in rows], (), ("column 'y'", "'j'"), "two classes"),
        "no values": ([re.sub(",.*,", ",,", row) for row in rows], (), ("column 'b'",), "--drop b"),
        "keys": (keys, (), ("column 'b'", "different texts"), "--categorical b"),
        "text cell": (with_text, (), ("line 7002", "column 'b'", "'about 12'"), "--categorical b"),
        "no label": (gap, (), ("line 42", "column 'y'", "label is missing"), "remove the row"),
        "infinity": (infinite, (), ("line 42", "column 'b'", "infinite"), "--drop b"),
        "text target": (
            *(rows, ("--task", "regression"), ("line 2", "column 'y'", "'j' is not a number")),
            "--task classification",
        ),
        "infinite target": (
            *([*numbers, "1,2,-inf"], (), ("line 102", "column 'y'", "infinite")),
            "remove the row",
        ),
    }


@pytest.mark.parametrize("name", bad_tables())
def test_a_table_that_cannot_be_used_is_one_error_with_the_place_and_a_fix(name, tmp_path):
    rows, options, places, fix = bad_tables()[name]
    table = written(tmp_path / "t.csv", "\n".join(["a,b,y", *rows]))
    task = options[1] if options else None
    text = refused_alike(
        DataError,
        lambda: prepare_run(RunSettings(data=str(table), label="y", task=task, seed=0)),
        *("train", table, "--label", "y", *options, "--seed", 0, "--out", tmp_path / "run"),
    )
    message, _, hint = text.partition(" | ")
    assert str(table) in message
    for place in places:
        assert place in message
    assert fix in hint
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError, match=re.escape(message)):
        train(str(table), "y", task=task, seed=0)


@pytest.mark.parametrize(
    ("content", "said", "fix"),
    [
        (b"", "the file is empty", "first line"),
        (b"a,b,y\n", "has a header, but no rows", "add one line per row"),
        ("a,y\n1,é\n2,è\n".encode("latin-1"), "line 2: is not UTF-8", "--encoding"),
        (b"1.5,2,x\n2.5,3,y\n", "looks like data", "--no-header"),
        (b"a,a,y\n1,2,x\n", "columns 1 and 2 are both named 'a'", "rename"),
        (b"a,b,y\n1,2,x\n1,2\n", "line 3: 2 cells", "one cell per column"),
    ],
)
def test_a_file_that_is_no_table_is_one_error(content, said, fix, tmp_path):
    table = written(tmp_path / "t.csv", content)
    text = refused_alike(
        *(DataError, lambda: prepare_run(RunSettings(data=str(table), label="y", device="cpu"))),
        *("train", table, "--label", "y", "--device", "cpu"),
    )
    message, _, hint = text.partition(" | ")
    assert message.startswith(str(table))
    assert said in message
    assert fix in hint


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals()))
    for options in (
        *(("--label", "kin"), ("--label", "kind", "--drop", "kin")),
        *(("--label", "kind", "--numeric", "kin"), ("--label", "kind", "--categorical", "kin")),
    ):
        message, _ = refused(3, "data", "train", table, *options)
        assert f"{table}: there is no column 'kin'; the columns are: height, width" in message
    message, hint = refused(3, "data", "train", table)
    assert "which column is the label? The columns are: height, width, kind" in message
    assert "--label" in hint


# --- how long it trains, and on which rows ---


def test_early_stopping_is_the_default_and_is_said(tmp_path):
    rng = random.Random(0)
    rows = [f"{rng.gauss(0, 1):.3f},{rng.gauss(0, 1):.3f},{rng.choice('pq')}" for _ in range(80)]
    table = written(tmp_path / "noise.csv", "\n".join(["a,b,kind", *rows]))
    settings = ("--seed", 0, "--hidden", 16, "--device", "cpu")
    told = done("train", table, "--label", "kind", *settings, "--json").json
    assert told["stopped"] == "early_stopping"
    assert len(told["epochs"]) < told["settings"]["epochs"]
    result = done("train", table, "--label", "kind", *settings)
    line = result.out.splitlines()[1]
    best = len(told["epochs"]) - told["settings"]["patience"]
    assert line.endswith(f"; stopped early, the weights are those of epoch {best}")
    told = done("train", table, "--label", "kind", *settings, "--patience", 0, "--json").json
    assert (told["stopped"], told["settings"]["patience"]) == (None, 0)
    assert len(told["epochs"]) == told["settings"]["epochs"]
    result = done("train", table, "--label", "kind", *settings, "--patience", 0)
    assert "stopped early" not in result.out + result.err


def test_without_validation_rows_nothing_stops_early(zoo):
    options = ("--validation-fraction", 0, "--epochs", 80, "--hidden", 4, "--json")
    told = done("train", zoo / "animals.csv", "--label", "kind", *options).json
    assert (told["stopped"], len(told["epochs"])) == (None, 80)
    assert told["settings"]["patience"] == 0


def test_a_fraction_of_the_rows_is_a_test(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals(120)))
    options = ("--test-fraction", 0.25, "--validation-fraction", 0.25, *SHORT)
    result = done("train", table, "--label", "kind", *options, "--out", tmp_path / "run")
    assert result.out.splitlines()[1].startswith("test accuracy ")
    told = done("train", table, "--label", "kind", *options, "--json").json
    assert [told["data"][part] for part in ("train", "validation", "test")] == [60, 30, 30]
    assert told["test"]["count"] == 30
    settings = {"label": "kind", "test_fraction": 0.25, "validation_fraction": 0.25, "seed": 0}
    data = prepare_run(RunSettings(data=str(table), **settings)).dataset
    used = [line for part in (data.train, data.validation, data.test) for line in part.lines]
    assert sorted(used) == list(range(2, 122))
    result = run("train", table, "--label", "kind", "--test-fraction", 0.5, *SHORT[:2])
    assert result.code == 0
    message, _ = refused(
        *(2, "configuration", "train", table, "--label", "kind"),
        *("--test-fraction", 0.9, "--validation-fraction", 0.2),
    )
    assert "leave no rows for training" in message


def test_the_format_of_a_file_is_kept_with_the_run(tmp_path):
    text = "\n".join(animals()).replace(",", "|")
    table = written(tmp_path / "animals.csv", text)
    options = ("--separator", "|", "--header", "--drop", "width")
    done("train", table, "--label", "kind", *options, *SHORT, "--out", tmp_path / "a")
    done("train", "--config", tmp_path / "a" / "config.toml", "--out", tmp_path / "b")
    for name in ("config.toml", "model.safetensors"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    model = load_model(tmp_path / "a" / "model.safetensors")
    assert model.preprocessing.names == ("height",)
    predicted = model.predict(table, table_format=TableFormat(separator="|"))
    assert done("predict", tmp_path / "a", table).out.split() == predicted.tolist()


def test_an_accuracy_that_any_guess_reaches_is_compared_with_it(tmp_path):
    rng = random.Random(0)
    rows = [f"{rng.gauss(0, 1):.3f},{'fraud' if k % 40 == 0 else 'ok'}" for k in range(200)]
    table = written(tmp_path / "rare.csv", "\n".join(["a,kind", *rows]))
    out = done("train", table, "--label", "kind", *SHORT).out
    assert "no better than always predicting 'ok' (9" in out
    table = written(tmp_path / "animals.csv", "\n".join(animals(120)))
    assert "no better" not in done("train", table, "--label", "kind", "--seed", 0).out


def test_rows_are_kept_if_a_column_that_is_left_out_has_no_value(tmp_path):
    rows = [
        f"{k % 7}.5,{'' if k % 2 else f'name {k}'},{'' if k == 8 else k % 5},{'xy'[k % 3 > 0]}"
        for k in range(100)
    ]
    table = written(tmp_path / "t.csv", "\n".join(["a,name,b,kind", *rows]))
    result = done("train", table, "--label", "kind", "--missing", "drop", *SHORT)
    assert "1 row with missing values left out, 99 kept" in result.err
