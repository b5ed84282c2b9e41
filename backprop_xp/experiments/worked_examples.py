"""The worked example of note 000: every number of one training step."""

from __future__ import annotations

from typing import Any

import numpy as np

from backprop_xp.experiments.experiment import Experiment, Outcome, same
from backprop_xp.nn.backpropagation import backward, loss_and_gradients
from backprop_xp.nn.gradient_check import check_gradients
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Layer, Network, Parameters, map_arrays
from backprop_xp.trace.examples import read_example
from backprop_xp.training.fit import fit
from backprop_xp.training.state import TrainState

HALF = get_loss("half_squared_error")


def one_step(
    network: Network, parameters: Parameters, x: Any, y: Any, learning_rate: float
) -> TrainState:
    """Train for one step on a sample, by gradient descent on the half squared error."""
    return fit(
        network,
        (x, y),
        parameters=parameters,
        loss="half_squared_error",
        optimizer="sgd",
        learning_rate=learning_rate,
        batch_size=0,
        epochs=1,
        seed=0,
        evaluate_training=True,
    )


def worked_example(name: str) -> tuple[Network, Parameters, Any, Any, float]:
    """Return a bundled example: network, parameters, inputs, targets and learning rate."""
    example = read_example(name)
    parameters = map_arrays(np.asarray, example.parameters)
    x, y = np.asarray(example.inputs), np.asarray(example.targets)
    return example.network, parameters, x, y, example.learning_rate


_NOTE_000: dict[str, Any] = {
    "z_1": [0.6, 0.7, 0.8, 0.9, 1.0],
    "z_2": [0.794675790131, 0.622384458092, 0.450093126054, 0.277801794015, 0.105510461976],
    "z_3": [0.544143875611, 0.696424718716],
    "a_1": [0.645656306226, 0.668187772168, 0.689974481128, 0.710949502625, 0.73105857863],
    "a_2": [0.688834430583, 0.650760661904, 0.610661375275, 0.569007222272, 0.526353172065],
    "a_3": [0.632775861191, 0.667394610184],
    "delta_1": [0.001205270887, 0.001283236419, 0.001349236437, 0.001402987505, 0.001444479245],
    "delta_2": [0.008516108359, 0.009526806399, 0.01048613483, 0.01135248584, 0.01208594421],
    "delta_3": [0.123801430912, 0.0948726471851],
    "new_weights_1": [
        [0.00517891645281, 0.0563841873396, 0.107589458226, 0.158794729113],
        [0.0148670543225, 0.0661502907419, 0.117433527161, 0.168716763581],
        [0.024603054253, 0.0759522906897, 0.127301527126, 0.178650763563],
        [0.0343880499817, 0.0857910374863, 0.137194024991, 0.188597012495],
        [0.0442220830213, 0.095666562266, 0.147111041511, 0.198555520755],
    ],
    "new_weights_2": [
        [0.204501520934, 0.214309640528, 0.224124102554, 0.233945476998, 0.243774225928],
        [0.15384895737, 0.163634304457, 0.173426746698, 0.183226921729, 0.193035346455],
        [0.103229560917, 0.112993292927, 0.12276483456, 0.132544887656, 0.142334021174],
        [0.0526701959252, 0.0624144077771, 0.0721670744721, 0.0819289558375, 0.0917006678369],
        [0.00219663390221, 0.0119243198618, 0.0216610069127, 0.031407503973, 0.0411644668023],
    ],
    "new_weights_3": [
        [0.0747213118322, 0.089434898875, 0.104399247938, 0.119556091683, 0.134836724133],
        [0.144648454098, 0.158260613321, 0.172064938794, 0.186016778556, 0.200063481212],
    ],
    "loss_before": 0.23325813554094965,
    "loss_after": 0.18784188512707584,
    # The note's program agrees in the last layer and differs in the two before it.
    "deltas_in_the_note's_order": [
        [0.0007212453326, 0.0007745452254, 0.0008202569865, 0.000858155243, 0.0008881915192],
        [0.004924237311, 0.005928772523, 0.006954076231, 0.007957757256, 0.008893607964],
    ],
    "gradient_error_of_the_note's_order": [0.401591, 0.421774],
}


def _in_the_notes_order(
    network: Network, old: Parameters, new_last: Layer, step: Any
) -> tuple[list[Any], list[Any]]:
    """Return δ and ∂L/∂W of layers 1 and 2 as the note's program computes them: each through the
    already updated weights of the layer above."""
    tape, delta = step.tape, step.gradients.deltas[-1]
    second = backward(network, [*old[:2], new_last], tape, delta)
    new_second = Layer(old[1].weights - second.layers[1].weights, None)  # η = 1
    first = backward(network, [old[0], new_second, new_last], tape, delta)
    # The error that reaches layer 1 starts at layer 2, and is the same there as in `second`.
    return (
        [first.deltas[0], second.deltas[1]],
        [first.layers[0].weights, second.layers[1].weights],
    )


def _note_000(data_dir: str | None) -> Outcome:
    network, old, x, y, learning_rate = worked_example("note-000")
    step = loss_and_gradients(network, HALF, old, x, y)
    state = one_step(network, old, x, y, learning_rate)
    measured: dict[str, Any] = {}
    for layer in range(3):
        measured[f"z_{layer + 1}"] = step.tape.z[layer][0].tolist()
        measured[f"a_{layer + 1}"] = step.tape.a[layer + 1][0].tolist()
        measured[f"delta_{layer + 1}"] = step.gradients.deltas[layer][0].tolist()
        measured[f"new_weights_{layer + 1}"] = state.parameters[layer].weights.tolist()
    measured["loss_before"] = state.history[0]["loss"]
    measured["loss_after"] = state.history[0]["train_loss"]

    deltas, gradients = _in_the_notes_order(network, old, state.parameters[2], step)
    measured["deltas_in_the_note's_order"] = [delta[0].tolist() for delta in deltas]
    errors = [
        float(np.max(np.abs(theirs / ours.weights - 1.0)))
        for theirs, ours in zip(gradients, step.gradients.layers[:2], strict=True)
    ]
    measured["gradient_error_of_the_note's_order"] = [round(error, 6) for error in errors]
    check = check_gradients(network, HALF, old, x, y)
    passed = same(_NOTE_000, measured) and check.error < 1e-8 and min(errors) > 0.1
    verdict = (
        f"every number to 1e-9, and central differences agree to {check.error:.0e}; passing back "
        "through weights already updated, as the note's program does, makes the gradients before "
        f"the last layer wrong by up to {max(errors):.0%}"
        if passed
        else "differs from the worked example"
    )
    history = {"simultaneous": list(state.history), "gradient_check": check._asdict()}
    return Outcome(_NOTE_000, measured, passed, verdict, history)


EXPERIMENTS = (
    Experiment(
        "note-000",
        "One training step number by number; all errors use the weights before the update.",
        "4-5-5-2 sigmoid without biases, one sample, half squared error, SGD, η 1",
        "note 000, worked example; its numbers recomputed",
        _note_000,
    ),
)
