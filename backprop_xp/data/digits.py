"""The bundled digits: 1,797 handwritten digits of 8 x 8 pixels, which need no network."""

from __future__ import annotations

from importlib import resources

import numpy as np

from backprop_xp.data.dataset import Dataset, Split
from backprop_xp.data.splits import stratified_split

# Part of what the set is: with another seed, figures could not be compared.
_SPLIT_SEED = 1797
_FRACTIONS = (0.6, 0.2, 0.2)


def load_digits() -> Dataset:
    """Return the digits, always split in the same way: 60 % train, 20 % validation, 20 % test.

    Returns
    -------
    Dataset
        Inputs are uint8 of shape (n, 64), values 0 to 16; the classes are ``"0"`` to ``"9"``.

    References
    ----------
    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0: the test part, as it comes
    with scikit-learn.

    Examples
    --------
    >>> digits = load_digits()
    >>> digits.train.size, digits.validation.size, digits.test.size
    (1078, 362, 357)
    """
    with (
        resources.files("backprop_xp.data").joinpath("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as stored,
    ):
        whole = Split(stored["x"], stored["y"].astype(np.int64))
    train, validation, test = stratified_split(whole.targets, _FRACTIONS, _SPLIT_SEED)
    return Dataset(
        name="digits",
        train=whole.take(train),
        validation=whole.take(validation),
        test=whole.take(test),
        classes=tuple("0123456789"),
        features=None,
        image_shape=(8, 8),
        default_scaling="16",
    )
