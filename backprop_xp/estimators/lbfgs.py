"""SciPy's L-BFGS over the project's own loss and gradients, on the whole training set at once."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl
from scipy.optimize import minimize
from sklearn.utils.optimize import _check_optimize_result

from backprop_xp.backend import arrays
from backprop_xp.backend.devices import Placement
from backprop_xp.backend.host import few_threads, one_thread, quiet
from backprop_xp.data.sparse import SparseRows
from backprop_xp.nn.network import Network, Parameters, map_arrays
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.trainer import Trainer


def minimise(
    estimator: Any,
    network: Network,
    train: tuple[Any, Any],
    parameters: Parameters,
    *,
    placement: Placement,
    dtype: str,
    weights: Any,
    settings: dict[str, Any],
) -> Parameters:
    """Return the parameters at the minimum; `loss_` and `n_iter_` of the estimator are set."""
    xp = placement.xp
    with placement.activate(), quiet(xp):
        trainer = Trainer(
            network,
            train,
            None,
            placement,
            placement.dtype(dtype),
            TrainingSettings.of({**settings, "batch_size": 0}),
        )
        trainer.take(False, weights, None)
        state = trainer.start(parameters, None)
        assert trainer.feed.whole is not None  # checked inputs are no file
        x, *others = trainer.feed.whole
        batch = (x.take(slice(None)) if isinstance(x, SparseRows) else x, *others)
        like = state.parameters

        def value_and_slope(vector: Any) -> tuple[float, Any]:
            layers = _unpack(vector, like, xp)
            loss, gradients = trainer.runner.gradients(layers, state.slots, batch, (1.0,))
            return float(loss), _pack(gradients, xp)

        with one_thread(_scipys_blas()), few_threads(like, trainer.n, xp=xp):
            found = minimize(
                value_and_slope,
                _pack(like, xp),
                method="L-BFGS-B",
                jac=True,
                options={
                    "maxfun": estimator.max_fun,
                    "maxiter": estimator.max_iter,
                    "gtol": estimator.tol,
                },
            )
        if not np.isfinite(found.x).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        estimator.n_iter_ = _check_optimize_result("lbfgs", found, estimator.max_iter)
        estimator.loss_ = estimator.best_loss_ = float(found.fun)
        return _unpack(found.x, like, xp)


@functools.cache
def _scipys_blas() -> threadpoolctl.ThreadpoolController:
    """Return SciPy's BLAS, where it has one of its own beside NumPy's, as its wheels have.

    The threads of the one, which wait for work and not asleep, keep those of the other from the
    cores: with both, the digits were measured to take five times as long. SciPy's work here is
    on a few vectors, which gains nothing by threads.
    """
    libraries = threadpoolctl.ThreadpoolController()
    folders = ("scipy.libs", "scipy/.dylibs")
    paths = [lib.filepath for lib in libraries.lib_controllers]
    return libraries.select(
        filepath=[path for path in paths if Path(path).parent.as_posix().endswith(folders)]
    )


def _pack(parameters: Parameters, xp: Any) -> Any:
    """Return all parameters, or their gradients, as one vector on the host."""
    flat = [xp.reshape(p, (-1,)) for layer in parameters for p in layer if p is not None]
    return arrays.to_numpy(xp.concat(flat)).astype(np.float64, copy=False)


def _unpack(vector: Any, like: Parameters, xp: Any) -> Parameters:
    """Return the parameters that a vector holds, shaped and placed like those given."""
    first = like[0].weights
    flat = arrays.asarray(vector, xp=xp, dtype=first.dtype, device=arrays.device(first))
    at = 0

    def one(p: Any) -> Any:
        nonlocal at
        part = flat[at : at + math.prod(p.shape)]
        at += part.shape[0]
        return xp.reshape(part, p.shape)

    return map_arrays(one, like)
