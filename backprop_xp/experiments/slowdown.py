"""Learning slowdown: a saturated neuron learns slowly unless the loss is cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from backprop_xp.experiments.experiment import Experiment, Outcome
from backprop_xp.nn.backpropagation import forward, loss_and_gradients
from backprop_xp.nn.losses import get_loss
from backprop_xp.nn.network import Layer, Network
from backprop_xp.training.fit import fit
from backprop_xp.training.state import TrainState

_NEURON = Network((1, 1), "sigmoid")
_INPUT, _TARGET = np.asarray([[1.0]]), np.asarray([[0.0]])
_STARTS = {"w 0.6, b 0.9": (0.6, 0.9), "w 2, b 2": (2.0, 2.0)}
_LOSSES = {
    "quadratic": ("half_squared_error", 0.15),
    "cross-entropy": ("binary_cross_entropy", 0.005),
}
_PUBLISHED = {
    "first outputs": [0.82, 0.98],
    "last outputs, quadratic": [0.09, 0.20],
    "slower from the saturated start, quadratic": True,
    "slower from the saturated start, cross-entropy": False,
}


def _learn(loss: str, learning_rate: float, start: tuple[float, float]) -> dict[str, Any]:
    """Return the size of the first gradient, and the output before and after each epoch."""
    w, b = start
    parameters = [Layer(np.asarray([[w]]), np.asarray([b]))]
    step = loss_and_gradients(_NEURON, get_loss(loss), parameters, _INPUT, _TARGET)
    outputs = [step.tape.a[-1].item()]

    def record(state: TrainState) -> None:
        outputs.append(forward(_NEURON, state.parameters, _INPUT).a[-1].item())

    fit(
        _NEURON,
        (_INPUT, _TARGET),
        parameters=parameters,
        loss=loss,
        optimizer="sgd",
        learning_rate=learning_rate,
        batch_size=0,
        epochs=300,
        on_epoch=record,
    )
    return {"first gradient": abs(step.gradients.layers[0].weights.item()), "outputs": outputs}


def _run(data_dir: str | None) -> Outcome:
    runs = {
        name: {start: _learn(loss, eta, values) for start, values in _STARTS.items()}
        for name, (loss, eta) in _LOSSES.items()
    }
    gradients = {name: [r["first gradient"] for r in run.values()] for name, run in runs.items()}
    quadratic = [run["outputs"] for run in runs["quadratic"].values()]
    measured = {
        "first outputs": [round(outputs[0], 2) for outputs in quadratic],
        "last outputs, quadratic": [round(outputs[-1], 2) for outputs in quadratic],
        **{
            f"slower from the saturated start, {name}": saturated < other
            for name, (other, saturated) in gradients.items()
        },
    }
    slow, fast = (gradients[name][1] / gradients[name][0] for name in _LOSSES)
    verdict = (
        f"from the saturated start the first gradient is {slow:.2f} times that from the other "
        f"with the quadratic loss, and {fast:.2f} times with cross-entropy"
    )
    return Outcome(_PUBLISHED, measured, measured == _PUBLISHED, verdict, runs)


EXPERIMENTS = (
    Experiment(
        "learning-slowdown",
        "The more wrong a sigmoid neuron is, the slower it starts to learn with the quadratic "
        "loss, and the faster with cross-entropy.",
        "1-1 sigmoid, input 1, target 0; quadratic loss with η 0.15, cross-entropy with η 0.005; "
        "300 epochs from w 0.6, b 0.9 and from w 2, b 2",
        "Nielsen, chapter 3, the cross-entropy cost function; note 004, section 3",
        _run,
    ),
)
