"""SciPy's L-BFGS with the loss and gradients of the core, on the full training set."""

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
from backprop_xp.backend.host import ignore_overflow, limit_threads, one_thread
from backprop_xp.data.sparse import SparseRows
from backprop_xp.nn.network import Network, Parameters, map_arrays
from backprop_xp.training.execution import make_executor
from backprop_xp.training.settings import TrainingSettings
from backprop_xp.training.state import initial_state
from backprop_xp.training.step import TrainingStep
from backprop_xp.training.training_data import TrainingData


def minimize_lbfgs(
    estimator: Any,
    network: Network,
    train: tuple[Any, Any],
    parameters: Parameters,
    *,
    placement: Placement,
    weights: Any,
    settings: dict[str, Any],
) -> tuple[Parameters, int, float]:
    """Minimize the loss of an estimator's network, starting from these parameters.

    Returns the parameters, the number of iterations, and the loss.
    """
    options = TrainingSettings.of({**settings, "batch_size": 0})
    xp = placement.xp
    with placement.activate(), ignore_overflow(xp):
        data = TrainingData.of(
            network, options, placement, train, shuffle=False, sample_weight=weights
        )
        state = initial_state(network, options, placement, parameters)
        step = TrainingStep.of(network, options, placement, n=data.n, seed=state.seed)
        executor = make_executor(step)
        assert data.loader.in_memory is not None  # checked inputs are not a file
        x, *others = data.loader.in_memory
        batch = (x.take(slice(None)) if isinstance(x, SparseRows) else x, *others)
        start = state.parameters

        def loss_and_gradient(vector: Any) -> tuple[float, Any]:
            layers = _unpack(vector, start, xp)
            loss, gradients = executor.gradients(layers, state.slots, batch, (1.0,))
            return float(loss), _pack(gradients, xp)

        with one_thread(_scipys_blas()), limit_threads(data.n * network.largest_layer, xp=xp):
            result = minimize(
                loss_and_gradient,
                _pack(start, xp),
                method="L-BFGS-B",
                jac=True,
                options={
                    "maxfun": estimator.max_fun,
                    "maxiter": estimator.max_iter,
                    "gtol": estimator.tol,
                },
            )
        if not np.isfinite(result.x).all():
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        n_iter = _check_optimize_result("lbfgs", result, estimator.max_iter)
        return _unpack(result.x, start, xp), n_iter, float(result.fun)


@functools.cache
def _scipys_blas() -> threadpoolctl.ThreadpoolController:
    """Return SciPy's own BLAS, if it has another one than NumPy, as its wheels have.

    The threads of one, which wait for work without sleeping, keep those of the other from the
    cores: with both, the digits were measured to take five times as long. SciPy works on a few
    vectors only, which does not gain from threads.
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
    """Return the parameters in a vector, with the shapes, type and device of ``like``."""
    first = like[0].weights
    flat = arrays.asarray(vector, xp=xp, dtype=first.dtype, device=arrays.device(first))
    start = 0

    def one(p: Any) -> Any:
        nonlocal start
        part = flat[start : start + math.prod(p.shape)]
        start += part.shape[0]
        return xp.reshape(part, p.shape)

    return map_arrays(one, like)
