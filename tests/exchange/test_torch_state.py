"""Weights for PyTorch, and weights from it: nothing is lost, and nothing is guessed."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from command_line import done, small_model, written
from helpers import bytes_of, error

from backprop_xp import (
    ConfigurationError,
    ModelFileError,
    Network,
    export_model,
    from_torch_state,
    load_model,
    save_model,
    to_torch_state,
)
from backprop_xp.data.scaling import Scaling
from backprop_xp.exchange.torch_state import _MODULES, torch_module
from backprop_xp.nn.activations import ACTIVATIONS, OUTPUTS, elementwise

SIZES, FUNCTIONS = (4, 5, 3, 2), ("tanh", "relu", "softmax")


def layers(*shapes, bias=True, dtype=np.float32, start=0, step=2):
    """Return a state dict of random layers of the shapes (n_out, n_in)."""
    rng, state = np.random.default_rng(0), {}
    for index, (n_out, n_in) in enumerate(shapes):
        number = start + step * index
        state[f"{number}.weight"] = rng.normal(size=(n_out, n_in)).astype(dtype)
        if bias:
            state[f"{number}.bias"] = rng.normal(size=n_out).astype(dtype)
    return state


# --- with PyTorch itself ---


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_a_module_of_torch_loads_the_file_and_gives_the_same_outputs(
    name, bias, dtype, torch, tmp_path
):
    hidden = name if name in ACTIVATIONS else "tanh"
    model = small_model(SIZES, (hidden, "tanh", name), dtype=dtype, bias=bias, scaling=None)
    code = export_model(model, tmp_path / "m.safetensors", "torch")["module"]
    if name not in _MODULES:
        assert code is None
        return
    module = eval(code, {"nn": torch.nn}).to(getattr(torch, dtype))
    read = pytest.importorskip("safetensors.torch").load_file(tmp_path / "m.safetensors")
    module.load_state_dict(read, strict=True)
    x = np.random.default_rng(0).normal(size=(50, SIZES[0])).astype(dtype)
    with torch.no_grad():
        outputs = module(torch.from_numpy(x)).numpy()
    assert error(outputs, model.outputs(x)) < {"float32": 1e-6, "float64": 1e-8}[dtype]


def test_what_torch_trained_comes_here(torch, tmp_path):
    nn = torch.nn
    module = nn.Sequential(nn.Linear(3, 4), nn.SiLU(), nn.Dropout(), nn.Linear(4, 2), nn.Softmax(1))
    x = torch.randn(20, 3)
    with torch.no_grad():
        wanted = module.eval()(x).numpy()
    pytest.importorskip("safetensors.torch").save_file(module.state_dict(), tmp_path / "f")
    for state in (module.state_dict(), tmp_path / "f", str(tmp_path / "f")):
        model = from_torch_state(state, ("silu", "softmax"), classes=[10, 20])
        assert model.network.sizes == (3, 4, 2)
        assert error(model.predict_proba(x.numpy()), wanted) < 1e-6
        assert model.predict(x.numpy()).tolist() == [10 * (k + 1) for k in wanted.argmax(1)]


# --- there and back ---


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [True, False])
def test_weights_come_back(bias, dtype, tmp_path):
    model = small_model(SIZES, FUNCTIONS, dtype=dtype, bias=bias)
    file = tmp_path / "m.safetensors"
    export_model(model, file, "torch")
    names = [f"{n}.{kind}" for n in (0, 2, 4) for kind in ("weight", "bias")[: 1 + bias]]
    assert list(to_torch_state(model)) == names
    assert set(safetensors.numpy.load_file(file)) == set(names)
    for state in (file, to_torch_state(model)):
        back = from_torch_state(state, FUNCTIONS)
        assert bytes_of(back.parameters) == bytes_of(model.parameters)
        assert (back.network.sizes, back.network.bias, back.dtype) == (SIZES, bias, dtype)
        assert back.scaling is None
    save_model(back, tmp_path / "ours.safetensors")
    assert bytes_of(load_model(tmp_path / "ours.safetensors").parameters) == bytes_of(
        model.parameters
    )


def test_the_metadata_says_what_is_not_in_the_file(tmp_path):
    file = tmp_path / "m.safetensors"
    model = small_model(
        (2, 1), "identity", target_scaling=Scaling(np.ones(1), np.full(1, 2.0)), bias=False
    )
    notes = export_model(model, file, "torch")["notes"]
    assert [note for note in notes if "scaling of the inputs" in note]
    assert [note for note in notes if "units of the targets" in note]
    with safetensors.safe_open(file, "numpy") as opened:
        metadata = opened.metadata()
    assert metadata["format"] == "pt"
    assert json.loads(metadata["sizes"]) == [2, 1]
    assert json.loads(metadata["activations"]) == ["identity"]
    assert json.loads(metadata["classes"]) is None
    assert metadata["module"] == torch_module(model.network)
    assert "scaling of the inputs" in metadata["not_included"]
    assert "units of the targets" in metadata["not_included"]
    complete = dataclasses.replace(model, scaling=None, target_scaling=None)
    assert export_model(complete, file, "torch")["notes"] == []


def test_an_activation_that_torch_lacks_is_named(tmp_path):
    notes = export_model(small_model((2, 1), "step"), tmp_path / "m.safetensors", "torch")["notes"]
    assert "no module for the activation step" in notes[-1]
    mine = elementwise("tanh", lambda z, xp: z, lambda z, a, xp: z)
    assert torch_module(Network((2, 1), mine)) is None


# --- what other programs write ---


@pytest.mark.parametrize(
    "names",
    [
        {"0": "0", "2": "2"},
        {"0": "1", "2": "10"},  # in the order of the numbers, not of the text
        {"0": "net.0", "2": "net.3"},
        {"0": "model.fc1", "2": "model.fc2"},
    ],
    ids=str,
)
def test_layers_are_in_the_order_of_their_numbers(names, tmp_path):
    state = layers((4, 3), (4, 4))  # the second also fits after itself
    given = {names[key.split(".")[0]] + "." + key.split(".")[1]: a for key, a in state.items()}
    backwards = dict(reversed(given.items()))
    safetensors.numpy.save_file(given, tmp_path / "f", {"format": "pt"})
    for one in (given, backwards, tmp_path / "f"):
        model = from_torch_state(one, "relu")
        assert bytes_of(model.parameters) == [a.tobytes() for a in state.values()]


def test_a_missing_bias_beside_others_is_zero():
    state = layers((4, 3), (2, 4))
    del state["0.bias"]
    parameters = from_torch_state(state, "relu").parameters
    assert parameters[0].bias.tolist() == [0.0] * 4
    assert bytes_of(parameters[1:]) == [state["2.weight"].tobytes(), state["2.bias"].tobytes()]


def test_half_precision_becomes_float32(tmp_path):
    state = layers((4, 3), dtype=np.float16)
    safetensors.numpy.save_file(state, tmp_path / "f")
    for one in (state, tmp_path / "f"):
        model = from_torch_state(one, "relu")
        assert model.dtype == "float32"
        np.testing.assert_array_equal(model.parameters[0].weights, state["0.weight"])
    mixed = {**layers((4, 3)), **layers((2, 4), start=2, dtype=np.float64)}
    assert from_torch_state(mixed, "relu").dtype == "float32"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "has no tensors"),
        ({"w": np.ones((2, 1))}, "'w' of the shape (2, 1) is not the weight or the bias"),
        ({"0.weight": np.ones((4, 3, 3, 3))}, "is not the weight or the bias"),  # a convolution
        ({**layers((2, 1)), "1.running_mean": np.ones(2)}, "'1.running_mean'"),
        ({**layers((2, 1)), "1.weight": np.ones(2)}, "'1.weight' of the shape (2,)"),
        ({"0.bias": np.ones(2)}, "layer 0 has a bias, but no weight"),
        ({**layers((2, 1)), "0.bias": np.ones(3)}, "the bias of layer 0 has the shape (3,)"),
        (layers((4, 3), (2, 5)), "layer 2 takes 5 numbers, but the layer before it gives 4"),
        ({"a1.weight": np.ones((1, 1)), "b2.weight": np.ones((1, 1))}, "order of its layers"),
        ({"1.weight": np.ones((1, 1)), "01.weight": np.ones((1, 1))}, "order of its layers"),
        ({"0.weight": np.ones((2, 1), np.int8)}, "'0.weight' has the type int8"),
        ({"0.weight": np.asarray([[np.nan]])}, "'0.weight' contains NaN"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_tensors_are_rejected(state, message, tmp_path):
    safetensors.numpy.save_file(state, tmp_path / "f")
    for one in (state, tmp_path / "f"):
        with pytest.raises(ModelFileError) as failure:
            from_torch_state(one, "relu")
        assert message in failure.value.message
        assert failure.value.hint


def test_the_numbers_of_activations_and_classes_must_fit():
    state = layers((4, 3), (2, 4))
    with pytest.raises(ConfigurationError, match="3 activations were given for 2 layers"):
        from_torch_state(state, ["relu"] * 3)
    for classes in (["a"], ["a", "a"], ["a", None], ["a", "b", "c"]):
        with pytest.raises(ConfigurationError, match="2 different ones are needed"):
            from_torch_state(state, "softmax", classes=classes)
    single = from_torch_state(layers((1, 3)), "sigmoid", classes=[False, True])
    assert set(single.predict(np.random.default_rng(0).normal(size=(50, 3)))) == {False, True}


def test_files_that_are_not_safetensors(tmp_path):
    pickled = written(tmp_path / "net.pt", b"PK\x03\x04 an archive of torch.save")
    with pytest.raises(ModelFileError, match="is not a safetensors file") as failure:
        from_torch_state(pickled, "relu")
    assert "safetensors.torch.save_file" in failure.value.hint
    with pytest.raises(ModelFileError, match="cannot be read: No such file"):
        from_torch_state(tmp_path / "missing", "relu")
    content = safetensors.numpy.save(layers((4, 3)))
    with pytest.raises(ModelFileError, match="cannot be used"):
        from_torch_state(written(tmp_path / "cut", content[:-1]), "relu")
    other = content.replace(b'"F32"', b'"BF9"')
    with pytest.raises(ModelFileError, match="has the unknown type 'BF9'") as failure:
        from_torch_state(written(tmp_path / "other", other), "relu")
    assert "float32" in failure.value.hint


def test_a_changed_file_of_ours_is_noticed(tmp_path):
    file = tmp_path / "m.safetensors"
    export_model(small_model(SIZES, FUNCTIONS), file, "torch")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    with pytest.raises(ModelFileError, match="does not match its SHA-256"):
        from_torch_state(written(file, bytes(content)), FUNCTIONS)


def test_a_model_file_is_not_a_state_dict_and_the_reverse(tmp_path):
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    save_model(small_model(), ours)
    done("export", ours, "--format", "torch", "-o", theirs)
    with pytest.raises(ModelFileError, match="is a safetensors file, but not a model") as failure:
        load_model(theirs)
    assert "backprop_xp.from_torch_state(path, activations)" in failure.value.hint
    with pytest.raises(ModelFileError, match=r"is not the weight or the bias"):
        from_torch_state(ours, "relu")
