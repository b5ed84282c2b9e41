"""Records: the best results of a single fully connected network, on the digits and on MNIST.

All settings were chosen on the validation rows. The networks are then trained on those rows as
well, and evaluated on the test rows once, after their last epoch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from backprop_xp.backend import arrays
from backprop_xp.backend.devices import Placement
from backprop_xp.data.dataset import Dataset
from backprop_xp.data.digits import load_digits
from backprop_xp.data.mnist import load_mnist
from backprop_xp.data.scaling import scaling_for
from backprop_xp.experiments.experiment import Experiment, Outcome
from backprop_xp.nn.metrics import classes_of
from backprop_xp.nn.network import Network
from backprop_xp.training.evaluation import predict
from backprop_xp.training.fit import fit
from backprop_xp.training.state import TrainState


class Recipe(NamedTuple):
    """A network and the settings of its training with AdamW, one cycle and augmentation."""

    hidden: tuple[int, ...]
    activation: str
    epochs: int
    batch_size: int
    learning_rate: float

    def __str__(self) -> str:
        return (
            f"hidden {'-'.join(map(str, self.hidden))} {self.activation}, softmax, AdamW, "
            f"η up to {self.learning_rate:g} in one cycle, batch {self.batch_size}, "
            f"{self.epochs} epochs, every image shifted, rotated, scaled, sheared and warped "
            "anew in every step; chosen on the validation rows, tested once"
        )


DIGITS = Recipe((512, 256), "relu", epochs=300, batch_size=32, learning_rate=0.002)
MNIST = Recipe((1024, 512), "gelu", epochs=180, batch_size=128, learning_rate=0.001)
_WIDTHS = (2500, 2000, 1500, 1000, 500)
DEEP = Recipe(_WIDTHS, "gelu", epochs=400, batch_size=512, learning_rate=0.0005)


def train(
    recipe: Recipe,
    data: Dataset,
    placement: Placement,
    on_epoch: Callable[[TrainState], None] | None = None,
) -> tuple[int, TrainState]:
    """Train on all rows except the test rows; return the number of test errors, and the state."""
    assert data.test is not None
    parts = [part for part in (data.train, data.validation) if part is not None]
    inputs = np.concatenate([part.inputs for part in parts])
    labels = np.concatenate([part.targets for part in parts])
    scaling = scaling_for(data.default_scaling, inputs)
    sizes = (data.n_inputs, *recipe.hidden, data.n_outputs)
    network = Network(sizes, (*[recipe.activation] * len(recipe.hidden), "softmax"))
    with placement.activate():
        state = fit(
            network,
            (scaling.apply(inputs, "float32"), labels),
            device=placement,
            image_shape=data.image_shape,
            augment="digits",
            optimizer="adamw",
            schedule="one_cycle",
            learning_rate=recipe.learning_rate,
            batch_size=recipe.batch_size,
            epochs=recipe.epochs,
            seed=0,
            on_epoch=on_epoch,
        )
        test = placement.with_dtype("float32").asarray(scaling.apply(data.test.inputs, "float32"))
        outputs = predict(network, state.parameters, test)
        predicted = arrays.to_numpy(classes_of(outputs, xp=placement.xp))
    return int(np.sum(predicted != data.test.targets)), state


def _record(
    recipe: Recipe, load: Callable[[str | None], Dataset], bound: int, published: dict[str, Any]
) -> Callable[..., Outcome]:
    """Return an experiment that passes with at most ``bound`` errors on the test rows."""

    def run(
        data_dir: str | None,
        placement: Placement,
        on_epoch: Callable[[TrainState], None] | None = None,
    ) -> Outcome:
        data = load(data_dir)
        wrong, state = train(recipe, data, placement, on_epoch)
        assert data.test is not None
        n, seconds = data.test.size, sum(record["seconds"] for record in state.history)
        verdict = (
            f"{n - wrong:,} of {n:,} test digits are classified correctly ({1.0 - wrong / n:.2%}), "
            f"after {seconds:.0f} s of training on {placement.name} ({placement.backend})"
        )
        measured = {key: wrong for key in published}
        return Outcome(published, measured, wrong <= bound, verdict, list(state.history))

    return run


EXPERIMENTS = (
    Experiment(
        "digits-record",
        "A wider network with augmentation beats the default network on the bundled digits.",
        str(DIGITS),
        "published: the result of `backprop-xp train --seed 0`",
        _record(DIGITS, lambda data_dir: load_digits(), 5, {"wrong of 357": 8}),
        epochs=DIGITS.epochs,
    ),
    Experiment(
        "mnist-record",
        "One fully connected network has an error below 0.6 % on MNIST, after ten minutes of "
        "training on two processor cores.",
        str(MNIST),
        "Simard, Steinkraus and Platt (2003): 0.7 % with 800 hidden neurons and elastic distortion",
        _record(MNIST, load_mnist, 60, {"wrong of 10,000": 70}),
        needs_mnist=True,
        epochs=MNIST.epochs,
    ),
    Experiment(
        "mnist-record-deep",
        "Five wide hidden layers reach an error of 0.35 % on MNIST; made for a GPU.",
        str(DEEP),
        "Cireşan, Meier, Gambardella and Schmidhuber (2010)",
        _record(DEEP, load_mnist, 35, {"wrong of 10,000": 35}),
        needs_mnist=True,
        epochs=DEEP.epochs,
    ),
)
