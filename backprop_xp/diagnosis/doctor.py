"""The doctor: what went wrong in a training, with the evidence for it and a way to mend it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from backprop_xp.diagnosis.evidence import Evidence, collect
from backprop_xp.nn.losses import Loss, default_loss, get_loss
from backprop_xp.nn.network import Network
from backprop_xp.training.state import TrainState


class Finding(NamedTuple):
    """Something that is wrong with a training.

    Attributes
    ----------
    fault : str
        Its name, a key of `RULES`.
    evidence : str
        What was seen, in numbers.
    mend : str
        What to do about it.
    """

    fault: str
    evidence: str
    mend: str


def examine(
    network: Network,
    state: TrainState,
    train: tuple[Any, Any],
    validation: tuple[Any, Any] | None = None,
    *,
    loss: str | Loss | None = None,
    diverged: bool = False,
    classes: Sequence[str] | None = None,
    features: Sequence[str] | None = None,
) -> list[Finding]:
    """Look for what commonly goes wrong in a training.

    The bounds are those of `scripts/doctor_check.py`, which counts false alarms and planted
    faults that are found.

    Parameters
    ----------
    network : Network
    state : TrainState
        What `backprop_xp.fit` returned, or the ``state`` of its `DivergenceError`.
    train, validation : pair of arrays
        What `fit` was given.
    loss : name, `Loss` or None
        That of the training; None takes the one that belongs to the output activation.
    diverged : bool
        Whether the training ended with a `DivergenceError`.
    classes, features : sequence of str, optional
        What to call the classes and the input columns; by default by their numbers from 0.

    Returns
    -------
    list of Finding
        The likeliest cause first; empty if nothing was found.

    Raises
    ------
    DataError, ConfigurationError
        If the data does not fit the network, or the loss is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from backprop_xp.training.fit import fit
    >>> x = np.random.default_rng(0).normal(size=(200, 2)) * [1.0, 1000.0]
    >>> data = x, (x[:, 0] > 0.0).astype(int)
    >>> network = Network((2, 10, 2), ("relu", "softmax"))
    >>> state = fit(network, data, epochs=5, optimizer="sgd", seed=0)
    >>> print(examine(network, state, data)[0].evidence)
    the inputs of column 1 have a root mean square of 1.01e+03
    """
    record = default_loss(network.activations[-1]) if loss is None else get_loss(loss)
    seen = collect(network, state, train, validation, loss=record, diverged=diverged)
    seen = seen._replace(classes=classes, features=features)
    findings: list[Finding] = []
    for fault, rule in RULES.items():
        found = rule(seen, [finding.fault for finding in findings])
        if found is not None:
            findings.append(Finding(fault, *found))
    return findings


Rule = Callable[[Evidence, list[str]], tuple[str, str] | None]
"""``(evidence, faults found so far) -> (evidence, mend)``, or None."""


def _inputs_not_scaled(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if 0.01 <= e.scale <= 10.0:
        return None
    column = e.column if e.features is None else e.features[e.column]
    return (
        f"the inputs of column {column} have a root mean square of {e.scale:.3g}"
        + (", and those of all others less" if e.scale < 0.01 else ""),
        "scale them to about 1: subtract the mean and divide by the deviation "
        "(--scaling standard), or divide images by their largest value",
    )


def _exploding(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if e.grown <= 100.0:
        return None
    return (
        f"the error grew {e.grown:.3g} times on its way back to the first layer",
        "begin with smaller weights (--initializer auto), take fewer layers, or bound the "
        "gradient (--clip-norm)",
    )


def _dead(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    share, layer = e.worst("dead")
    if share < 0.5:
        return None
    return (
        f"{share:.0%} of the units of layer {layer} pass no error for any sample",
        "lower the learning rate, begin with biases of 0, or take leaky_relu",
    )


def _saturated(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    share, layer = e.worst("saturated")
    if share < 0.8:
        return None
    return (
        f"{share:.0%} of the activations of layer {layer} lie on a flat end of their function",
        "lower the learning rate, begin with smaller weights, or take relu",
    )


def _vanishing(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if e.passed_back >= 0.005 or _any(found, "dead units", "saturated units"):
        return None
    return (
        f"{e.passed_back:.2g} of the error at the output reaches the first layer",
        "take relu or tanh for the hidden layers, or fewer of them",
    )


def _rate_too_high(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if "inputs not scaled" in found:
        return None  # the rate is then not to blame,
    if "exploding gradients" in found and max(e.updates, default=0.0) < 0.05:
        return None  # nor here, where the steps are small for the size of the weights
    evidence = ""
    # Before the first steps any loss is possible; a later one that is worse was made by them.
    first, later = max(e.losses[:1], default=0.0), max(e.losses[1:], default=0.0)
    if e.diverged:
        evidence = "the training diverged"
    elif later > max(2.0 * e.baseline, first) or first > 20.0 * e.baseline:
        evidence = (
            f"the loss of an epoch was {max(e.losses):.3g}, and {e.baseline:.3g} is that of a "
            "constant prediction"
        )
    elif e.updates and e.updates[0] > 0.6:
        evidence = f"the first step changes the weights by {e.updates[0]:.0%} of their size"
    if not evidence:
        return None
    return evidence, "divide the learning rate by 10, or look for it with find-lr"


def _rate_too_low(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if found or e.moved >= 0.1 or e.learned >= 0.5:
        return None
    return (
        f"the {e.steps:,} steps can have changed the weights by {e.moved:.2%} at most",
        "multiply the learning rate by 10, look for it with find-lr, or train longer",
    )


def _labels(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if found or not e.losses:
        return None
    learned, where = e.learned_held_out, "validation"
    if learned is None:
        learned, where = e.learned, "training"
    if learned >= 0.03 or e.still_falls:
        return None
    return (
        f"the {where} loss was never more than {max(learned, 0.0):.1%} better than that of a "
        "constant prediction",
        "look whether inputs and labels belong to each other row by row; else the inputs do not "
        "tell the labels, or the network is too small",
    )


def _never_predicted(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if _any(found, *_OF_TRAINING):
        return None
    missed = [k for k, n in enumerate(e.counts) if n >= 5 and not e.predicted[k]]
    if not missed:
        return None
    name = missed[0] if e.classes is None else e.classes[missed[0]]
    return (
        f"class {name} is never predicted, and {e.counts[missed[0]]} of "
        f"{sum(e.counts)} training samples belong to it",
        "weigh rare classes more (--class-weight balanced), or gather more of them",
    )


def _overfitting(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if e.stopped_early or not e.validation_losses or e.validation_baseline is None:
        return None
    last, best = e.validation_losses[-1], min(e.validation_losses)
    epoch, epochs = e.validation_losses.index(best) + 1, len(e.validation_losses)
    lost = (last - best) / e.validation_baseline
    if epoch > 0.8 * epochs or lost < 0.1 or last < 1.2 * best or e.loss > 0.25 * last:
        return None
    return (
        f"the validation loss was {best:.3g} after epoch {epoch} and is {last:.3g} now, while the "
        f"training loss is {e.loss:.3g}",
        "stop early (--patience), take more data or --augment, or use --dropout or --l2",
    )


_OF_TRAINING = (
    "inputs not scaled",
    "exploding gradients",
    "dead units",
    "saturated units",
    "vanishing gradients",
    "learning rate too high",
    "learning rate too low",
)

RULES: dict[str, Rule] = {
    "inputs not scaled": _inputs_not_scaled,
    "exploding gradients": _exploding,
    "dead units": _dead,
    "saturated units": _saturated,
    "vanishing gradients": _vanishing,
    "learning rate too high": _rate_too_high,
    "learning rate too low": _rate_too_low,
    "labels look shuffled": _labels,
    "class never predicted": _never_predicted,
    "overfitting": _overfitting,
}


def _any(found: list[str], *faults: str) -> bool:
    return any(fault in found for fault in faults)
