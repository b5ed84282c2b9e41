"""Splits: which rows go into which part, drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from backprop_xp.backend.arrays import Array
from backprop_xp.errors import ConfigurationError, DataError


def stratified_split(
    labels: Array,
    fractions: Sequence[float],
    seed: int,
    *,
    classes: Sequence[str] | None = None,
) -> tuple[Array, ...]:
    """Deal rows out into parts so that every class keeps its share in each of them.

    Parameters
    ----------
    labels : array, shape (n,)
        The class of each row.
    fractions : sequence of float
        The share of each part; together 1. A part of share 0 stays empty.
    seed : int
        The same seed gives the same parts.
    classes : sequence of str, optional
        The name of each class index, for the error; by default the label itself.

    Returns
    -------
    tuple of array, each of shape (n_part,), int64
        The rows of each part, in rising order; every row is in exactly one part.

    Raises
    ------
    ConfigurationError
        If the fractions are negative or do not add up to 1.
    DataError
        If a class has too few rows to give one to every part.

    Examples
    --------
    >>> import numpy as np
    >>> train, test = stratified_split(np.asarray([0, 0, 0, 0, 1, 1]), [0.5, 0.5], seed=0)
    >>> train, test
    (array([0, 2, 5]), array([1, 3, 4]))
    """
    _check_fractions(fractions)
    labels = np.asarray(labels)
    rng = np.random.Generator(np.random.PCG64(seed))
    parts: list[list[Array]] = [[] for _ in fractions]
    for value in np.unique(labels):
        rows = np.flatnonzero(labels == value)
        try:
            sizes = _sizes(rows.size, fractions)
        except DataError as error:
            name = value if classes is None else classes[int(value)]
            raise DataError(
                f"the class {str(name)!r} cannot be split: {error.message}",
                "merge the class with another, leave it out, or give a validation file; "
                "where the labels are numbers to be predicted, say --task regression",
            ) from None
        _deal(parts, rng.permutation(rows), sizes)
    return tuple(_sorted(part) for part in parts)


def random_split(n: int, fractions: Sequence[float], seed: int) -> tuple[Array, ...]:
    """Deal ``n`` rows out into parts at random.

    Parameters
    ----------
    n : int
        The number of rows.
    fractions : sequence of float
        The share of each part; together 1. A part of share 0 stays empty.
    seed : int
        The same seed gives the same parts.

    Returns
    -------
    tuple of array, each of shape (n_part,), int64
        The rows of each part, in rising order; every row is in exactly one part.

    Raises
    ------
    ConfigurationError
        If the fractions are negative or do not add up to 1.
    DataError
        If there are too few rows to give one to every part.

    Examples
    --------
    >>> [part.size for part in random_split(10, [0.8, 0.2], seed=0)]
    [8, 2]
    """
    _check_fractions(fractions)
    sizes = _sizes(n, fractions)
    parts: list[list[Array]] = [[] for _ in fractions]
    _deal(parts, np.random.Generator(np.random.PCG64(seed)).permutation(n), sizes)
    return tuple(_sorted(part) for part in parts)


def _check_fractions(fractions: Sequence[float]) -> None:
    if not fractions or not all(fraction >= 0 for fraction in fractions):
        raise ConfigurationError(f"fractions {list(fractions)}: none may be negative")
    if not math.isclose(math.fsum(fractions), 1.0, abs_tol=1e-9):
        raise ConfigurationError(f"fractions {list(fractions)}: they must add up to 1")


def _sizes(n: int, fractions: Sequence[float]) -> list[int]:
    """Share ``n`` rows out by largest remainder, at least one to each part with a share."""
    wanted = [index for index, fraction in enumerate(fractions) if fraction > 0]
    if n < len(wanted):
        raise DataError(f"{n} row(s) for {len(wanted)} parts", "give more rows")
    quotas = [n * fraction for fraction in fractions]
    sizes = [math.floor(quota) for quota in quotas]
    by_remainder = sorted(wanted, key=lambda index: sizes[index] - quotas[index])
    for index in by_remainder[: n - sum(sizes)]:
        sizes[index] += 1
    for index in wanted:
        if sizes[index] == 0:
            sizes[sizes.index(max(sizes))] -= 1
            sizes[index] = 1
    return sizes


def _deal(parts: list[list[Array]], rows: Array, sizes: Sequence[int]) -> None:
    start = 0
    for part, size in zip(parts, sizes, strict=True):
        part.append(rows[start : start + size])
        start += size


def _sorted(part: list[Array]) -> Array:
    return np.sort(np.concatenate([np.empty(0, dtype=np.int64), *part]))
