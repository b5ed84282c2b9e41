"""The doctor: what went wrong in a training run, the evidence for it, and how to fix it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from backprop_xp.diagnosis.evidence import Evidence, collect
from backprop_xp.nn.losses import Loss, default_loss, get_loss
from backprop_xp.nn.network import Network
from backprop_xp.training.data_scale import SCALE_INPUTS, SCALE_TARGETS
from backprop_xp.training.state import TrainState


class Finding(NamedTuple):
    """Something that went wrong in a training run.

    Attributes
    ----------
    fault : str
        Its name, a key of `RULES`.
    evidence : str
        The numbers that show it.
    remedy : str
        What to do about it.
    """

    fault: str
    evidence: str
    remedy: str

    def as_dict(self) -> dict[str, str]:
        """Return the finding as files and ``--json`` hold it, with the remedy under ``mend``."""
        return {"fault": self.fault, "evidence": self.evidence, "mend": self.remedy}


def diagnose(
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
    """Look for common faults in a training run.

    The bounds were chosen with `scripts/doctor_check.py`, which counts false alarms and the planted
    faults that are found.

    Parameters
    ----------
    network : Network
    state : TrainState
        Returned by `backprop_xp.fit`, or the ``state`` of its `DivergenceError`.
    train, validation : pair of arrays
        The arguments of `fit`.
    loss : name, `Loss` or None
        That of the training run; None selects the default for the output activation.
    diverged : bool
        Whether the run ended with a `DivergenceError`.
    classes, features : sequence of str, optional
        Names of the classes and of the input columns; numbers from 0 by default.

    Returns
    -------
    list of Finding
        The most likely cause first; empty if nothing was found.

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
    >>> state = fit(network, data, epochs=5, optimizer="sgd", seed=0, diagnostics=False)
    >>> print(diagnose(network, state, data)[0].evidence)
    the inputs of column 1 have a root mean square of 1.01e+03
    """
    record = default_loss(network.activations[-1]) if loss is None else get_loss(loss)
    evidence = collect(network, state, train, validation, loss=record, diverged=diverged)
    evidence = evidence._replace(classes=classes, features=features)
    findings: list[Finding] = []
    for fault, rule in RULES.items():
        result = rule(evidence, [finding.fault for finding in findings])
        if result is not None:
            findings.append(Finding(fault, *result))
    return findings


_FEW_STEPS = 100
"""Before so many steps, a loss that is still high does not say anything about the labels."""

Rule = Callable[[Evidence, list[str]], tuple[str, str] | None]
"""``(evidence, faults found so far) -> (evidence, remedy)``, or None."""


def _inputs_not_scaled(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    evidence = e.scale.unscaled_inputs(e.features)
    return (evidence, SCALE_INPUTS) if evidence else None


def _targets_not_scaled(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    learned = not e.diverged and e.explained_loss >= 0.9
    return (e.unscaled_targets, SCALE_TARGETS) if e.unscaled_targets and not learned else None


def _exploding(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if e.largest_gradient_ratio <= 100.0:
        return None
    return (
        f"the error grew {e.largest_gradient_ratio:.3g} times on its way back to the first layer",
        "start from smaller weights (--initializer auto), use fewer layers, or clip the gradient "
        "(--clip-norm)",
    )


def _dead(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    share, layer = e.worst("dead")
    if share < 0.5:
        return None
    return (
        f"{share:.0%} of the units of layer {layer} pass no error for any sample",
        "lower the learning rate, start from biases of 0, or use leaky_relu",
    )


def _saturated(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    share, layer = e.worst("saturated")
    if share < 0.8:
        return None
    return (
        f"{share:.0%} of the activations of layer {layer} lie on a flat part of their function",
        "lower the learning rate, start from smaller weights, or use relu",
    )


def _vanishing(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if e.gradient_ratio >= 0.005 or "dead units" in found or "saturated units" in found:
        return None
    return (
        f"{e.gradient_ratio:.2g} of the error at the output reaches the first layer",
        "use relu or tanh in the hidden layers, or fewer hidden layers",
    )


def _rate_too_high(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if "inputs not scaled" in found or "targets not scaled" in found:
        return None  # the data is the cause, not the rate
    if "exploding gradients" in found and max(e.updates, default=0.0) < 0.05:
        return None  # nor is it the rate if the steps are small relative to the weights
    evidence = ""
    # The initial weights may have any loss; if it is worse later, the steps made it so.
    first, later = max(e.losses[:1], default=0.0), max(e.losses[1:], default=0.0)
    if e.diverged:
        evidence = "training diverged"
    elif e.baseline > 0.0 and (
        later > max(2.0 * e.baseline, first) or first > 20.0 * max(e.baseline, _uniform_loss(e))
    ):
        evidence = (
            f"the training loss during an epoch was {max(e.losses):.3g}; that of a constant "
            f"prediction is {e.baseline:.3g}"
        )
    elif e.updates and e.updates[0] > 0.6:
        evidence = f"the first step changes the weights by {e.updates[0]:.0%} of their size"
    if not evidence:
        return None
    return evidence, "divide the learning rate by 10, or find one with find-lr"


def _uniform_loss(e: Evidence) -> float:
    """Return the cross-entropy of equal probabilities, from which training on classes starts.

    Where classes are rare, it is many times that of the best constant prediction.
    """
    return math.log(len(e.counts)) if e.counts else 0.0


def _rate_too_low(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if found or e.relative_change >= 0.1 or e.explained_loss >= 0.5:
        return None
    return (
        f"the {e.steps:,} steps changed the weights by at most {e.relative_change:.2%}",
        "multiply the learning rate by 10, find one with find-lr, or train longer",
    )


def _labels(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if found or not e.losses or not e.baseline or e.steps < _FEW_STEPS:
        return None
    explained, validated = e.explained_validation_loss, e.explained_validation_loss is not None
    if explained is None:
        explained = e.explained_loss
    if explained >= 0.03 or e.still_falls:
        return None
    below = "below" if explained < 0.0005 else f"more than {explained:.1%} below"
    name = "validation loss was never" if validated else "loss on the training set is not"
    memorized = validated and e.best_explained_loss >= 0.5
    return (
        f"the {name} {below} that of a constant prediction",
        "check that each row of inputs has its own label; otherwise the inputs do not predict the "
        "labels, or "
        + (
            "there are too few rows for so many inputs: leave some out, or use --l2 or --dropout"
            if memorized
            else "the network is too small"
        ),
    )


def _never_predicted(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if found and found != ["labels look shuffled"]:
        return None  # what is wrong with the training explains it
    missed = [k for k, n in enumerate(e.counts) if n >= 5 and not e.predicted[k]]
    if not missed:
        return None
    name = missed[0] if e.classes is None else e.classes[missed[0]]
    return (
        f"class {name} is never predicted, and {e.counts[missed[0]]} of "
        f"{sum(e.counts)} training samples belong to it",
        "give rare classes more weight (--class-weight balanced), or collect more of them",
    )


def _overfitting(e: Evidence, found: list[str]) -> tuple[str, str] | None:
    if e.stopped_early or not e.validation_losses or not e.validation_baseline:
        return None
    last, best = e.validation_losses[-1], min(e.validation_losses)
    epoch, epochs = e.validation_losses.index(best) + 1, len(e.validation_losses)
    lost = (last - best) / e.validation_baseline
    if epoch > 0.8 * epochs or lost < 0.1 or last < 1.2 * best or e.loss > 0.25 * last:
        return None
    return (
        f"the validation loss was {best:.3g} after epoch {epoch} and is {last:.3g} now, while the "
        f"loss on the training set, measured after the last epoch, is {e.loss:.3g}",
        "stop early (--patience), use more data or --augment, or use --dropout or --l2",
    )


RULES: dict[str, Rule] = {
    "inputs not scaled": _inputs_not_scaled,
    "targets not scaled": _targets_not_scaled,
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
