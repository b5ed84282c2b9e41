"""Scikit-learn estimators: an MLP classifier and an MLP regressor, trained by `backprop_xp.fit`."""

from __future__ import annotations

try:
    import sklearn  # noqa: F401
except ImportError as error:
    raise ImportError(
        "backprop_xp.estimators needs scikit-learn: pip install 'backprop-xp[sklearn]'"
    ) from error

from backprop_xp.estimators.classifier import MLPClassifier
from backprop_xp.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
