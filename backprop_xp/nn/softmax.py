"""Softmax: the activation whose every output depends on every input, with its Jacobian."""

from __future__ import annotations

from backprop_xp.backend.arrays import Array, Namespace


def softmax(z: Array, xp: Namespace) -> Array:
    """Return ``exp(z_i) / Σ_j exp(z_j)``, for ``z`` of the shape (..., n).

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.asarray([[1e3, 1e3]]), np)
    array([[0.5, 0.5]])
    """
    # Softmax does not change when all z shift together; with the largest at 0 nothing overflows.
    a = xp.exp(z - xp.max(z, axis=-1, keepdims=True))
    a /= xp.sum(a, axis=-1, keepdims=True)
    return a


def softmax_pull_back(da: Array, z: Array, a: Array, xp: Namespace) -> Array:
    """Return dL/dz from dL/da, all of the shape (..., n).

    Examples
    --------
    >>> import numpy as np
    >>> softmax_pull_back(np.asarray([8.0, 0.0]), np.zeros(2), np.asarray([0.5, 0.5]), np)
    array([ 2., -2.])
    """
    # The product with J = diag(a) - a aᵀ, without making J: a ⊙ (da - <da, a>).
    dz = da - xp.sum(da * a, axis=-1, keepdims=True)
    dz *= a
    return dz


def softmax_jacobian(a: Array, *, xp: Namespace) -> Array:
    """Return the full Jacobian of softmax, ``J[i, j] = da_i/dz_j = a_i (δ_ij - a_j)``.

    ``y (1 - y)`` is its diagonal only; off the diagonal stands ``-a_i a_j``.

    Parameters
    ----------
    a : array, shape (..., n)
        Softmax outputs.
    xp : namespace

    Returns
    -------
    array, shape (..., n, n)

    Examples
    --------
    >>> import numpy as np
    >>> softmax_jacobian(np.asarray([0.25, 0.75]), xp=np)
    array([[ 0.1875, -0.1875],
           [-0.1875,  0.1875]])
    """
    n = a.shape[-1]
    column = xp.expand_dims(a, axis=-1)  # (..., n, 1)
    row = xp.expand_dims(a, axis=-2)  # (..., 1, n)
    identity = xp.eye(n, dtype=a.dtype, device=getattr(a, "device", None))
    return column * (identity - row)
