"""The sources of a trace: bundled examples, custom files and saved models, and their errors."""

import numpy as np
import pytest
from command_line import animals, done, refused_alike, written

from backprop_xp import ConfigurationError, DataError, load_dataset, load_model
from backprop_xp.data.scaling import scaling_for
from backprop_xp.trace.examples import EXAMPLES, read_example
from backprop_xp.trace.saved_model import trace_samples
from backprop_xp.trace.step_trace import trace_step

GOOD = {
    "sizes": "[2, 3, 1]",
    "activations": '["tanh", "sigmoid"]',
    "inputs": "[[1.0, 2.0]]",
    "targets": "[[1]]",
    "weights": "[[[1, 2], [3, 4], [5, 6]], [[1, 2, 3]]]",
    "biases": "[[0.1, 0.2, 0.3], [0.4]]",
}


def toml(folder, **changed):
    """Write a file that describes a step, with some keys changed, or left out if None."""
    lines = [f"{key} = {text}" for key, text in {**GOOD, **changed}.items() if text is not None]
    return str(written(folder / "net.toml", "\n".join(lines)))


# --- files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_bundled_example_lowers_its_loss(name):
    trace = read_example(name).trace()
    assert trace.after.loss < trace.before.loss
    assert trace.title
    assert trace.source == {"example": name}


def test_what_a_file_leaves_open_is_as_usual(tmp_path):
    path = toml(tmp_path, biases=None)
    trace = read_example(path).trace()
    assert (trace.model.loss.name, trace.optimizer.name) == ("binary_cross_entropy", "sgd")
    assert (trace.learning_rate, trace.model.dtype, trace.title) == (0.1, "float64", "")
    assert not trace.model.network.bias
    assert not trace.penalty
    assert trace.source == {"file": path}
    assert trace.old[0].weights.tolist() == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


def test_a_file_says_loss_rule_penalty_and_type(tmp_path):
    given = {"loss": '"half_squared_error"', "optimizer": '"adam"', "beta1": "0.8", "l2": "0.5"}
    path = toml(tmp_path, **given, l1="0.25", learning_rate="0.5", dtype='"float32"', title='"x"')
    trace = read_example(path).trace()
    assert trace.optimizer.hyperparameters == {"beta1": 0.8, "beta2": 0.999, "epsilon": 1e-8}
    assert (trace.model.loss.name, trace.learning_rate) == ("half_squared_error", 0.5)
    assert (trace.penalty.l1, trace.penalty.l2) == (0.25, 0.5)
    assert (trace.title, trace.new[0].weights.dtype) == ("x", np.float32)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lernrate": "1"}, "unknown key 'lernrate'"),
        ({"learning_rat": "1"}, "did you mean 'learning_rate'"),
        ({"weights": None}, "weights is missing"),
        ({"sizes": "[2, 0, 1]"}, "layer 1 has the size 0"),
        ({"sizes": '"2-3-1"'}, "give a list: [2, 3, 1]"),
        ({"activations": '["tanh"]'}, "1 activations were given for 2 layers"),
        ({"activations": '["tanh", "sigmod"]'}, "did you mean 'sigmoid'"),
        ({"activations": "3"}, "activations is 3"),
        ({"activations": "[3, 4]"}, "unknown activation 3"),
        ({"loss": '"huberr"'}, "did you mean 'huber'"),
        ({"loss": "1"}, "loss is 1 | give a string"),
        ({"optimizer": '["sgd"]'}, "optimizer is ['sgd'] | give a string"),
        ({"momentum": "0.5"}, "the optimizer 'sgd' has no hyperparameter 'momentum'"),
        ({"optimizer": '"adam"', "momentum": "1"}, "hyperparameter of the optimizer 'adam'"),
        ({"optimizer": '"adam"', "beta1": "1.5"}, "beta1 is 1.5"),
        ({"dtype": '"float46"'}, "did you mean 'float64'"),
        ({"learning_rate": "-1"}, "learning_rate is -1"),
        ({"learning_rate": '"fast"'}, "learning_rate is 'fast'"),
        ({"l2": "-1"}, "l2 is -1"),
        (
            {"weights": "[[[1, 2], [3, 4]], [[1, 2, 3]]]"},
            "the weights of layer 1 have the shape (2, 2), not (3, 2)",
        ),
        (
            {"weights": "[[[1, 2], [3, 4], [5, 6]], [[1, 2]]]"},
            "the weights of layer 2 have the shape (1, 2), not (1, 3)",
        ),
        (
            {"weights": "[[[1, 2], [3, 4, 5], [5, 6]], [[1, 2, 3]]]"},
            "row 2 of the weights of layer 1 has 3 numbers, and row 1 has 2",
        ),
        ({"weights": "[[[1, 2], [3, 4], [5, 6]]]"}, "weights: 1 for 2 layers"),
        ({"weights": "[[1, 2], [3, 4]]"}, "the weights of layer 1 are not rows of numbers"),
        ({"weights": "3"}, "weights: none for 2 layers"),
        (
            {"weights": '[[[1, 2], [3, "4"], [5, 6]], [[1, 2, 3]]]'},
            "a number in the weights of layer 1 is '4'",
        ),
        ({"weights": "[[[1, 2], [3, nan], [5, 6]], [[1, 2, 3]]]"}, "is nan"),
        ({"weights": f"[[[1, 2], [3, 1{'0' * 400}], [5, 6]], [[1, 2, 3]]]"}, "that is finite"),
        ({"biases": "[[1, 2], [4]]"}, "the biases of layer 1 have the shape (1, 2), not (1, 3)"),
        ({"biases": "[[1, 2, 3]]"}, "biases: 1 for 2 layers"),
        ({"biases": "[1, 2]"}, "the biases of layer 1 are not rows of numbers"),
        ({"inputs": "[1.0, 2.0]"}, "the inputs are not rows of numbers"),
        ({"inputs": "[[1.0]]"}, "the inputs have the shape (1, 1), not (1, 2)"),
        ({"targets": "[]"}, "the targets are not rows of numbers"),
        ({"targets": "[[1], [0]]"}, "there are 1 rows of inputs and 2 of targets"),
        ({"targets": "[[true]]"}, "a number in the targets is True"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_in_a_file_is_named(changed, said, tmp_path):
    path = toml(tmp_path, **changed)
    told = refused_alike(
        ConfigurationError, lambda: read_example(path).trace(), "trace", path, "--device", "cpu"
    )
    assert said in told
    assert path in told


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"sizes = [2, 1]\nactivations = [\ninputs = 3\n", "line 3"),
        (b"sizes = [2, 1]\n\ntitle = 'caf\xe9'\n", "line 3"),
        (b"sizes = [2, 1]\nsizes = [3, 1]\n", "line 2"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(content, line, tmp_path):
    path = str(written(tmp_path / "net.toml", content))
    told = refused_alike(ConfigurationError, lambda: read_example(path), "trace", path)
    assert path in told
    assert line in told


def test_a_source_that_is_not_there_is_refused(tmp_path):
    missing = str(tmp_path / "net.toml")
    assert missing in refused_alike(
        ConfigurationError, lambda: read_example(missing), "trace", missing
    )
    told = refused_alike(ConfigurationError, lambda: read_example("note-002"), "trace", "note-002")
    assert "did you mean 'note-00" in told


# --- saved models ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of a short training run on the bundled digits."""
    folder = tmp_path_factory.mktemp("run")
    rule = ("--optimizer", "nesterov", "--momentum", 0.8, "--learning-rate", 0.05, "--l2", 2.0)
    given = ("--epochs", 2, "--hidden", 12, "--seed", 0, "--device", "cpu", "--dropout", 0.25)
    done("train", *given, *rule, "--out", folder)
    return folder


def samples_of(run, *samples, data="digits", **given):
    path = str(run / "model.safetensors")
    return trace_samples(load_model(path), path, data, samples, **given)


def test_a_sample_of_a_data_set_goes_through_the_model_as_in_its_training(run):
    trace, digits = samples_of(run, 7), load_dataset("digits")
    data = trace.as_data()
    (sample,) = data["samples"]
    model = load_model(run / "model.safetensors")
    scaled = scaling_for(digits.default_scaling, digits.train.inputs).apply(digits.test.inputs)
    assert np.asarray(sample["input"], dtype=np.float32).tobytes() == scaled[7].tobytes()
    assert sample["label"] == digits.classes[digits.test.targets[7]]
    assert [int(sample["predicted"])] == model.predict(digits.test.inputs[7:8]).tolist()
    assert np.asarray(sample["layers"][-1]["a"]) == pytest.approx(
        model.outputs(digits.test.inputs[7:8])[0], rel=1e-5
    )
    assert sample["loss_before"] == pytest.approx(
        model.measure(digits.test.inputs[7:8], digits.test.targets[7:8])["loss"], rel=1e-5
    )
    assert data["network"]["image_shape"] == [8, 8]
    assert (data["source"]["part"], data["source"]["sample"]) == ("test", 7)


def test_rule_and_penalty_are_those_of_the_training_beside_the_model(run):
    trace = samples_of(run, 0)
    assert trace.optimizer.name == "nesterov"
    assert trace.optimizer.hyperparameters == {"momentum": 0.8}
    assert trace.learning_rate == 0.05
    assert trace.penalty.l2 == 2.0 / load_dataset("digits").train.size
    assert trace.source["left_out"] == ["dropout"]
    other = samples_of(run, 0, optimizer="adam")
    assert (other.optimizer.name, other.learning_rate) == ("adam", 0.001)
    assert samples_of(run, 0, learning_rate=0.5).optimizer.name == "nesterov"


def test_a_model_without_its_settings_is_traced_by_gradient_descent(run, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    trace = samples_of(tmp_path, 0)
    assert (trace.optimizer.name, trace.learning_rate) == ("sgd", 0.1)
    assert not trace.penalty
    assert "left_out" not in trace.source


def test_several_samples_are_one_batch_in_their_order(run):
    trace = samples_of(run, 9, 2, 9, split="train")
    digits = load_dataset("digits")
    wanted = [digits.classes[digits.train.targets[row]] for row in (9, 2, 9)]
    samples = trace.as_data()["samples"]
    assert [sample["label"] for sample in samples] == wanted
    assert samples[0] == samples[2]
    assert trace.source["sample"] == [9, 2, 9]


def test_a_table_of_named_classes_is_traced_by_its_label(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals()))
    given = ("--label", "kind", "--epochs", 1, "--seed", 0, "--device", "cpu", "--l1", 0.5)
    done("train", table, *given, "--penalty", "per_batch", "--out", tmp_path)
    data = samples_of(tmp_path, 4, data=str(table), label="kind").as_data()
    assert data["samples"][0]["label"] == "bee"
    assert data["network"]["features"] == ["height", "width"]
    assert data["penalty"] == {"l1": 0.5, "l2": 0.0, "biases": False}
    assert data["source"]["part"] is None
    assert samples_of(tmp_path, 4, data=str(table)).as_data() == data  # it knows its label
    rows = "\n".join(line.rpartition(",")[0] for line in animals())
    with pytest.raises(DataError, match="no labels to compare with"):
        samples_of(tmp_path, 4, data=str(written(tmp_path / "rows.csv", rows)))


def test_a_penalty_by_the_number_of_samples_needs_the_training_data(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals()))
    given = ("--label", "kind", "--epochs", 1, "--seed", 0, "--device", "cpu", "--l1", 0.5)
    done("train", table, *given, "--out", tmp_path)
    other = table.rename(tmp_path / "other.csv")
    assert samples_of(tmp_path, 4, data=str(other), label="kind").as_data()["penalty"]["l1"] > 0
    (tmp_path / "outcome.json").unlink()  # it has the number of the rows, too
    with pytest.raises(DataError, match="cannot be counted"):
        samples_of(tmp_path, 4, data=str(other), label="kind")


@pytest.mark.parametrize("sample", [-1, 357])
def test_a_sample_that_is_not_there_is_refused_with_their_number(sample, run):
    with pytest.raises(DataError, match="it has 357") as failure:
        samples_of(run, 0, sample)
    assert failure.value.hint == "give numbers from 0 to 356"


def test_a_broken_file_of_settings_beside_the_model_is_named(run, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    config = written(tmp_path / "config.toml", 'epochs = 3\noptimizer = "sgd\n')
    with pytest.raises(ConfigurationError, match="line 2") as failure:
        samples_of(tmp_path, 0)
    assert str(config) in failure.value.message
    written(config, "activation = 3")
    with pytest.raises(ConfigurationError, match="unknown activation"):
        samples_of(tmp_path, 0)
    written(config, "epochs = 2.5")
    with pytest.raises(ConfigurationError, match="epochs in"):
        samples_of(tmp_path, 0)


def test_a_regression_is_traced_by_the_numbers_that_it_was_trained_on(tmp_path):
    written(tmp_path / "t.csv", "a,b\n" + "\n".join(f"{k},{2 * k + 1}" for k in range(20)))
    given = ("--label", "b", "--task", "regression", "--epochs", 1, "--seed", 0)
    done("train", tmp_path / "t.csv", *given, "--device", "cpu", "--out", tmp_path)
    model = load_model(tmp_path / "model.safetensors")
    trace = trace_step(model, np.asarray([[3.0], [4.0]]), np.asarray([[7.0], [9.0]]))
    samples = trace.as_data()["samples"]
    offset, divisor = (float(array[0]) for array in model.target_scaling)
    assert [sample["target"][0] * divisor + offset for sample in samples] == pytest.approx([7, 9])
    predicted = [sample["layers"][-1]["a"][0] * divisor + offset for sample in samples]
    assert predicted == pytest.approx(model.predict([[3.0], [4.0]]).tolist(), rel=1e-5)
    stored = trace_samples(model, str(tmp_path / "model.safetensors"), tmp_path / "t.csv", [3, 4])
    assert stored.targets.tobytes() == trace.targets.tobytes()
    assert stored.inputs.tobytes() == trace.inputs.tobytes()
    assert [sample["label"] for sample in samples] == [None, None]
