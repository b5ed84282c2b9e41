"""An optimizer's rule over cache-sized slices of large arrays, for NumPy."""

from __future__ import annotations

import functools
from collections.abc import Callable

from backprop_xp.backend.arrays import Array, Namespace
from backprop_xp.nn.network import Parameters
from backprop_xp.nn.optimizers import Optimizer, Scalars, Slots, update

SLICE_SIZE = 32_768
"""Entries in a slice: small enough for all its temporaries to stay in cache."""


def update_in_slices(
    optimizer: Optimizer,
    parameters: Parameters,
    gradients: Parameters,
    slots: list[Slots],
    scalars: Scalars,
    *,
    xp: Namespace,
    size: int = SLICE_SIZE,
) -> tuple[Parameters, list[Slots]]:
    """Update like `backprop_xp.nn.optimizers.update`, some rows of a large array at a time.

    This pays if a rule passes over several arrays several times: not for plain gradient descent.
    The results are the same to the last bit.
    """
    if optimizer.slots:
        rule = functools.partial(_rule_in_slices, optimizer.rule, size)
        optimizer = optimizer._replace(rule=rule)
        # NumPy needs half the time for a number in an array, whose type it does not have to find.
        scalars = tuple(xp.asarray(number, dtype=slots[0][0].dtype) for number in scalars)
    return update(optimizer, parameters, gradients, slots, scalars, xp=xp)


def _rule_in_slices(
    rule: Callable[..., tuple[Array, Slots]],
    size: int,
    p: Array,
    g: Array,
    slots: Slots,
    scalars: Scalars,
    xp: Namespace,
) -> tuple[Array, Slots]:
    """Apply a rule in place, to views of some rows at a time."""
    flat = p, g, *slots
    if not all(a.flags.c_contiguous for a in flat):  # in Fortran order the columns lie together
        flat = tuple(a.T for a in flat)
    if p.size <= size or not all(a.flags.c_contiguous for a in flat):
        return rule(p, g, slots, scalars, xp)
    rows = max(1, size * flat[0].shape[0] // p.size)
    for start in range(0, flat[0].shape[0], rows):
        old, gradient, *others = (a[start : start + rows] for a in flat)
        new, new_slots = rule(old, gradient, tuple(others), scalars, xp)
        for view, result in zip((old, *others), (new, *new_slots), strict=True):
            if result is not view:  # a custom rule may return new arrays
                view[...] = result
    return p, slots
