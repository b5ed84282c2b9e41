"""Splits: which rows are used for training, validation and testing, drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.errors import ConfigurationError, DataError
from backprop_xp.formatting import abridged, pluralize


def stratified_split(
    labels: Array,
    fractions: Sequence[float],
    seed: int,
    *,
    classes: Sequence[str] | None = None,
    where: str = "",
) -> tuple[Array, ...]:
    """Split rows at random so that every class has the same proportions in each split.

    Parameters
    ----------
    labels : array, shape (n,)
        The class of each row.
    fractions : sequence of float
        The fraction of the rows in each split; together 1. A split of fraction 0 is empty.
    seed : int
        The same seed gives the same splits.
    classes : sequence of str, optional
        The name of each class index, for error messages; by default the label itself.
    where : str
        Where the labels are, such as ``"pets.csv, column 'kind': "``, to begin error messages with.

    Returns
    -------
    tuple of array, each of shape (n_split,), int64
        The rows of each split, in ascending order; every row is in exactly one split.

    Raises
    ------
    ConfigurationError
        If a fraction is negative, or the fractions do not add up to 1.
    DataError
        If a class has fewer rows than there are splits.

    Examples
    --------
    >>> import numpy as np
    >>> train, test = stratified_split(np.asarray([0, 0, 0, 0, 1, 1]), [0.5, 0.5], seed=0)
    >>> train, test
    (array([0, 2, 5]), array([1, 3, 4]))
    """
    n_splits = _check_fractions(fractions)
    labels = np.asarray(labels)
    groups = []
    # One sort for all classes: there can be as many of them as rows.
    values, counts = np.unique(labels, return_counts=True)
    sorted_rows = np.argsort(labels, kind="stable")
    for value, rows in zip(values, np.split(sorted_rows, np.cumsum(counts)[:-1]), strict=True):
        if rows.size < n_splits:
            name = value if classes is None else classes[int(value)]
            raise DataError(
                f"{where}the class {abridged(str(name))} cannot be split: "
                f"{pluralize(rows.size, 'row')} for {n_splits} splits",
                "merge the class with another, remove it, or give a validation file; "
                "if the labels are numbers to predict, use --task regression",
            )
        groups.append(rows)
    return _split(groups, fractions, seed)


def random_split(n: int, fractions: Sequence[float], seed: int) -> tuple[Array, ...]:
    """Split ``n`` rows at random, as `stratified_split` does for a single class.

    Examples
    --------
    >>> [rows.size for rows in random_split(10, [0.8, 0.2], seed=0)]
    [8, 2]
    """
    n_splits = _check_fractions(fractions)
    if n < n_splits:
        raise DataError(
            f"the data cannot be split: {pluralize(n, 'row')} for {n_splits} splits",
            "give more rows",
        )
    return _split([np.arange(n)], fractions, seed)


def _check_fractions(fractions: Sequence[float]) -> int:
    """Return the number of splits that are not empty."""
    if not fractions or not all(fraction >= 0 for fraction in fractions):
        raise ConfigurationError(f"fractions {list(fractions)}: none may be negative")
    if not math.isclose(math.fsum(fractions), 1.0, abs_tol=1e-9):
        raise ConfigurationError(f"fractions {list(fractions)}: they must add up to 1")
    return sum(fraction > 0 for fraction in fractions)


def _split(groups: list[Array], fractions: Sequence[float], seed: int) -> tuple[Array, ...]:
    """Split each group of rows at random, and join the groups of each split."""
    rng = np.random.Generator(np.random.PCG64(seed))
    splits = [[np.empty(0, dtype=np.int64)] for _ in fractions]
    for rows in groups:
        ends = np.cumsum(_sizes(rows.size, fractions))[:-1]
        for split, drawn in zip(splits, np.split(rng.permutation(rows), ends), strict=True):
            split.append(drawn)
    return tuple(np.sort(np.concatenate(split)) for split in splits)


def _sizes(n: int, fractions: Sequence[float]) -> list[int]:
    """Divide ``n`` rows by the largest-remainder method, with at least one row for each split of
    a positive fraction."""
    nonempty = [index for index, fraction in enumerate(fractions) if fraction > 0]
    quotas = [n * fraction for fraction in fractions]
    sizes = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(nonempty, key=lambda index: sizes[index] - quotas[index])
    for index in by_remainder[: n - sum(sizes)]:
        sizes[index] += 1
    for index in nonempty:
        if sizes[index] == 0:
            sizes[sizes.index(max(sizes))] -= 1
            sizes[index] = 1
    return sizes
