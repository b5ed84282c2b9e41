"""The bundled digits: 1,797 handwritten digits of 8 x 8 pixels, included in the package."""

from __future__ import annotations

from importlib import resources

import numpy as np

from backprop_xp.data.dataset import Dataset, Split
from backprop_xp.data.splits import stratified_split

# Fixed, so that results can be compared.
_SPLIT_SEED = 1797
_FRACTIONS = (0.6, 0.2, 0.2)


def load_digits() -> Dataset:
    """Load the digits data set: 1,797 images of handwritten digits, of 8 x 8 pixels.

    The split into 60 % training, 20 % validation and 20 % test rows is always the same.

    Returns
    -------
    Dataset
        The inputs are uint8 of shape (n, 64) with values from 0 to 16, and the classes are
        ``"0"`` to ``"9"``.

    References
    ----------
    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49, CC BY 4.0; its test set, as in
    scikit-learn.

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
        digits = Split(stored["x"], stored["y"].astype(np.int64))
    train, validation, test = stratified_split(digits.targets, _FRACTIONS, _SPLIT_SEED)
    return Dataset(
        name="digits",
        train=digits.take(train),
        validation=digits.take(validation),
        test=digits.take(test),
        classes=tuple("0123456789"),
        features=None,
        image_shape=(8, 8),
        default_scaling="16",
        label_type="integer",
    )
