"""Splits: every row once, the fractions of every class, and the same rows for the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backprop_xp.data.splits import random_split, stratified_split
from backprop_xp.errors import ConfigurationError, DataError

FRACTIONS = st.sampled_from([(0.85, 0.15), (0.6, 0.2, 0.2), (1.0, 0.0), (0.99, 0.01), (0.5, 0.5)])
SEEDS = st.integers(0, 2**32 - 1)
COUNTS = st.lists(st.integers(3, 30), min_size=1, max_size=5)


@given(counts=COUNTS, fractions=FRACTIONS, seed=SEEDS)
def test_every_class_keeps_its_share_in_every_part(counts, fractions, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    splits = stratified_split(labels, fractions, seed)
    assert sorted(np.concatenate(splits).tolist()) == list(range(labels.size))
    for rows, fraction in zip(splits, fractions, strict=True):
        assert np.array_equal(rows, np.sort(rows))
        for label, count in enumerate(counts):
            in_split = int(np.sum(labels[rows] == label))
            assert (in_split > 0) == (fraction > 0)
            assert abs(in_split - count * fraction) < 2


@given(n=st.integers(3, 200), fractions=FRACTIONS, seed=SEEDS)
def test_a_random_split_holds_every_row_once(n, fractions, seed):
    splits = random_split(n, fractions, seed)
    assert sorted(np.concatenate(splits).tolist()) == list(range(n))
    for rows, fraction in zip(splits, fractions, strict=True):
        assert np.array_equal(rows, np.sort(rows))
        assert (rows.size > 0) == (fraction > 0)


def test_the_same_seed_gives_the_same_parts_and_another_seed_others():
    labels = np.repeat(np.arange(3), 30)
    for split in (
        lambda seed: stratified_split(labels, (0.8, 0.2), seed),
        lambda seed: random_split(90, (0.8, 0.2), seed),
    ):
        assert split(1)[1].tolist() == split(1)[1].tolist()
        assert split(1)[1].tolist() != split(2)[1].tolist()


def test_shares_go_by_largest_remainder():
    labels = np.repeat([0, 1], [100, 7])
    sizes = [rows.size for rows in stratified_split(labels, (0.71, 0.29), 0)]
    assert sizes == [71 + 5, 29 + 2]


def test_a_class_too_small_to_be_split_is_named_with_its_count():
    with pytest.raises(DataError, match=r"class '7' cannot be split: 1 row") as caught:
        stratified_split(np.asarray([3, 3, 3, 7]), (0.5, 0.5), 0)
    assert "validation file" in caught.value.hint
    with pytest.raises(DataError, match="class 'dog'"):
        stratified_split(np.asarray([0, 0, 1]), (0.5, 0.5), 0, classes=("cat", "dog"))


def test_labels_may_be_text():
    train, rest = stratified_split(np.asarray(["a", "b", "a", "b"]), (0.5, 0.5), 0)
    assert train.size == rest.size == 2


def test_too_few_rows_for_the_parts_are_refused():
    with pytest.raises(DataError, match="1 row"):
        random_split(1, (0.5, 0.5), 0)


@pytest.mark.parametrize("fractions", [(), (0.5,), (1.5, -0.5), (float("nan"), 1.0), (0.7, 0.7)])
def test_fractions_that_are_no_shares_are_refused(fractions):
    with pytest.raises(ConfigurationError, match="fractions"):
        random_split(10, fractions, 0)
