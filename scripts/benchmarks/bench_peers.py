"""The peers of the benchmark; each trains in its own process, one epoch per request.

`bench.py` starts this file once for each peer. A peer is a function ``(job, turns)``: it imports
its libraries, calls ``turns.imported()``, prepares its data and weights, and trains in
``for epoch in turns.epochs(weights)``, where ``weights()`` returns the current weights. Each
iteration of that loop is timed, so it must end only when the device has finished its work.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from bench_job import SEED, Job, Turns, Weights

# --- ours ------------------------------------------------------------------------------------


VARIANTS: dict[str, dict[str, Any]] = {
    "bare": {"evaluate_training": False, "diagnostics": False},
    "graph": {"cuda_graph": True},
}
"""Settings of `backprop_xp.fit` beside those of the workload, by the last part of a peer's name."""


def ours(job: Job, turns: Turns) -> None:
    """Train with `backprop_xp.fit`: one call for all epochs that waits between them.

    Without a variant, only what defines the workload is passed, so it has the default settings.
    """
    from backprop_xp import Layer, Network, TrainState, fit, select_device
    from backprop_xp.backend.arrays import to_numpy

    _, backend, *variant = job.peer.split("-")
    settings = VARIANTS[variant[0]] if variant else {}
    placement = select_device("cpu" if backend == "numpy" else job.device, backend)
    turns.imported()
    data, work = job.load(), job.work
    latest: list[Layer] = []
    commands = turns.epochs(lambda: [(to_numpy(w), to_numpy(b)) for w, b in latest])

    def order(epoch: int, n: int) -> np.ndarray:
        if epoch == 0:  # called when everything is ready
            next(commands)
        return job.order(epoch)

    def on_epoch(state: TrainState) -> None:
        latest[:] = state.parameters
        next(commands, None)

    fit(
        Network(work.sizes, (*[work.hidden] * (len(work.sizes) - 2), work.output)),
        (data.x, data.y),
        device=placement,
        parameters=[Layer(*layer) for layer in data.weights],
        shuffle=order,
        on_epoch=on_epoch,
        loss=work.loss,
        optimizer=work.optimizer,
        learning_rate=work.learning_rate,
        batch_size=work.batch,
        epochs=job.epochs,
        seed=SEED,
        **settings,
    )


# --- PyTorch ---------------------------------------------------------------------------------


def torch_peer(job: Job, turns: Turns) -> None:
    """Train a `torch.nn.Sequential`, eager or compiled, with a fused optimizer."""
    import torch
    from torch import nn

    if job.device != "cpu" and not torch.cuda.is_available():
        raise ImportError("PyTorch sees no GPU")
    torch.set_num_threads(job.threads)
    turns.imported()
    data, work, device = job.load(), job.work, torch.device(job.device)

    layers: list[nn.Module] = []
    for weights, bias in data.weights:
        linear = nn.Linear(*weights.shape[::-1])
        linear.weight.data, linear.bias.data = torch.tensor(weights), torch.tensor(bias)
        layers += [linear, nn.Sigmoid() if work.hidden == "sigmoid" else nn.ReLU()]
    model = nn.Sequential(*layers[:-1]).to(device)
    x = torch.asarray(data.x).to(device)
    labels = work.loss == "cross_entropy"
    y = torch.asarray(data.y if labels else data.one_hot()).to(device)
    functional = nn.functional
    losses: dict[str, Callable[[Any, Any], Any]] = {
        "half_squared_error": lambda z, y: 0.5 * ((torch.sigmoid(z) - y) ** 2).sum() / len(y),
        "binary_cross_entropy": lambda z, y: (
            functional.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(y)
        ),
        "cross_entropy": functional.cross_entropy,
    }
    criterion = losses[work.loss]
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    optimizer = kinds[work.optimizer](model.parameters(), lr=work.learning_rate, fused=True)

    def loss_of(rows: Any) -> Any:
        return criterion(model(x[rows]), y[rows])

    if job.peer == "torch-compile":
        mode = "default" if job.device == "cpu" else "reduce-overhead"
        loss_of = torch.compile(loss_of, mode=mode, dynamic=False)

    def weights_now() -> Weights:
        trained = [layer for layer in model if isinstance(layer, nn.Linear)]
        return [
            (layer.weight.detach().cpu().numpy(), layer.bias.detach().cpu().numpy())
            for layer in trained
        ]

    for epoch in turns.epochs(weights_now):
        for rows in torch.from_numpy(job.order(epoch)).to(device).split(work.batch):
            optimizer.zero_grad()
            loss_of(rows).backward()
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()


# --- JAX -------------------------------------------------------------------------------------


def jax_scan(job: Job, turns: Turns) -> None:
    """Train with JAX's own gradients: one compiled scan over the steps of an epoch."""
    import jax
    import jax.numpy as jnp

    try:
        device = jax.devices("cpu" if job.device == "cpu" else "gpu")[0]
    except RuntimeError as error:
        raise ImportError(str(error)) from error
    turns.imported()
    data, work = job.load(), job.work
    x, y = jax.device_put((data.x, data.one_hot()), device)
    weights = jax.device_put([(w.T, b) for w, b in data.weights], device)  # (n_in, n_out)
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = (weights, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros((), jnp.float32))
    hidden = jax.nn.sigmoid if work.hidden == "sigmoid" else jax.nn.relu

    def loss_of(weights: Any, x: Any, y: Any) -> Any:
        for w, b in weights[:-1]:
            x = hidden(x @ w + b)
        w, b = weights[-1]
        z = x @ w + b
        if work.loss == "half_squared_error":
            terms = 0.5 * (jax.nn.sigmoid(z) - y) ** 2
        elif work.loss == "binary_cross_entropy":
            terms = jax.nn.softplus(z) - y * z
        else:
            terms = -y * jax.nn.log_softmax(z)
        return terms.sum() / len(y)

    def sgd(state: Any, gradients: Any) -> Any:
        weights, *rest = state
        return jax.tree.map(lambda p, g: p - work.learning_rate * g, weights, gradients), *rest

    def adam(state: Any, gradients: Any) -> Any:
        weights, mean, square, step = state
        step = step + 1.0
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, gradients)
        square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, square, gradients)
        # 1 - beta**step, which in float32 would lose digits in the first steps
        first, second = (-jnp.expm1(step * np.log(beta)) for beta in (0.9, 0.999))
        root = jnp.sqrt(second)
        eta = work.learning_rate * root / first
        weights = jax.tree.map(
            lambda p, m, v: p - eta * m / (jnp.sqrt(v) + 1e-8 * root), weights, mean, square
        )
        return weights, mean, square, step

    update = sgd if work.optimizer == "sgd" else adam

    def run(state: Any, x: Any, y: Any, order: Any) -> Any:
        def step(state: Any, rows: Any) -> Any:
            loss, gradients = jax.value_and_grad(loss_of)(state[0], x[rows], y[rows])
            return update(state, gradients), loss

        state, losses = jax.lax.scan(step, state, order)
        return state, losses.mean()

    run = jax.jit(run, donate_argnums=0)

    def weights_now() -> Weights:
        return [(np.asarray(w).T, np.asarray(b)) for w, b in state[0]]

    for epoch in turns.epochs(weights_now):
        order = job.order(epoch).reshape(-1, work.batch).astype(np.int32)
        state, loss = run(state, x, y, order)
        jax.block_until_ready((state, loss))


# --- scikit-learn ----------------------------------------------------------------------------


def sklearn_mlp(job: Job, turns: Turns) -> None:
    """Train an `MLPClassifier`: its own loss (softmax, cross-entropy) and its own shuffles."""
    from sklearn.neural_network import MLPClassifier

    turns.imported()
    data, work = job.load(), job.work
    model = MLPClassifier(
        hidden_layer_sizes=work.sizes[1:-1],
        activation="logistic" if work.hidden == "sigmoid" else work.hidden,
        solver=work.optimizer,
        alpha=0.0,
        momentum=0.0,
        batch_size=work.batch,
        # The rate for a squared error is too high for its loss; the amount of work is the same.
        learning_rate_init=min(work.learning_rate, 0.5),
        random_state=SEED,
    )
    # It does not accept initial weights: a first step allocates its arrays, which are then
    # overwritten, and its optimizer is reset.
    model.partial_fit(data.x[: work.batch], data.y[: work.batch], classes=np.arange(10))
    for index, (weights, bias) in enumerate(data.weights):
        model.coefs_[index][...] = weights.T
        model.intercepts_[index][...] = bias
    del model._optimizer
    layers = list(zip(model.coefs_, model.intercepts_, strict=True))  # updated in place
    for _ in turns.epochs(lambda: [(w.T, b) for w, b in layers]):
        model.partial_fit(data.x, data.y)


# --- a loop over single samples --------------------------------------------------------------


def nielsen(job: Job, turns: Turns) -> None:
    """Train sample by sample in plain NumPy.

    As in ``network.py`` and ``network2.py`` of Nielsen, "Neural networks and deep learning",
    chapters 1 to 3.
    """
    if job.work.output != "sigmoid" or job.work.optimizer != "sgd":
        raise NotImplementedError("the book has sigmoid outputs and plain gradient descent only")
    turns.imported()
    data, work = job.load(), job.work
    inputs, targets = data.x[:, :, None], data.one_hot()[:, :, None]  # columns, as in the book
    weights = [w.copy() for w, _ in data.weights]
    biases = [b[:, None].copy() for _, b in data.weights]

    def sigmoid(z: np.ndarray) -> np.ndarray:
        a: np.ndarray = 1.0 / (1.0 + np.exp(-z))
        return a

    def backprop(x: np.ndarray, y: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        activations = [x]
        for w, b in zip(weights, biases, strict=True):
            activations.append(sigmoid(np.dot(w, activations[-1]) + b))
        a = activations[-1]
        delta = a - y if work.loss == "binary_cross_entropy" else (a - y) * a * (1.0 - a)
        nabla_w, nabla_b = [np.dot(delta, activations[-2].T)], [delta]
        for layer in range(len(weights) - 1, 0, -1):
            a = activations[layer]
            delta = np.dot(weights[layer].T, delta) * a * (1.0 - a)
            nabla_w.insert(0, np.dot(delta, activations[layer - 1].T))
            nabla_b.insert(0, delta)
        return nabla_w, nabla_b

    eta = work.learning_rate / work.batch

    def weights_now() -> Weights:
        return [(w, b[:, 0]) for w, b in zip(weights, biases, strict=True)]

    for epoch in turns.epochs(weights_now):
        for rows in job.order(epoch).reshape(-1, work.batch):
            sum_w, sum_b = [np.zeros_like(w) for w in weights], [np.zeros_like(b) for b in biases]
            for row in rows:
                nabla_w, nabla_b = backprop(inputs[row], targets[row])
                sum_w = [total + one for total, one in zip(sum_w, nabla_w, strict=True)]
                sum_b = [total + one for total, one in zip(sum_b, nabla_b, strict=True)]
            weights = [w - eta * total for w, total in zip(weights, sum_w, strict=True)]
            biases = [b - eta * total for b, total in zip(biases, sum_b, strict=True)]


PEERS: dict[str, tuple[str, Callable[[Job, Turns], None]]] = {
    "ours-numpy": ("backprop_xp, NumPy", ours),
    "ours-jax": ("backprop_xp, JAX", ours),
    "ours-torch": ("backprop_xp, PyTorch", ours),
    "ours-cupy": ("backprop_xp, CuPy", ours),
    "ours-cupy-graph": ("backprop_xp, CuPy, CUDA graph", ours),
    "ours-numpy-bare": ("backprop_xp, NumPy, bare", ours),
    "ours-jax-bare": ("backprop_xp, JAX, bare", ours),
    "ours-cupy-bare": ("backprop_xp, CuPy, bare", ours),
    "jax-scan": ("JAX, jitted scan", jax_scan),
    "torch-eager": ("PyTorch, eager", torch_peer),
    "torch-eager-1": ("PyTorch, eager, 1 thread", torch_peer),
    "torch-compile": ("PyTorch, torch.compile", torch_peer),
    "sklearn": ("scikit-learn MLPClassifier", sklearn_mlp),
    "nielsen": ("NumPy, one sample at a time", nielsen),
}
"""The title and the training function of each peer."""


def main() -> None:
    # Only replies go to the original standard output; output of libraries goes to standard error.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    job = Job(**json.loads(sys.stdin.readline()))
    turns = Turns(job, channel)
    from backprop_xp import DeviceError

    try:
        PEERS[job.peer][1](job, turns)
    except (ImportError, DeviceError, NotImplementedError) as error:
        turns.send(missing=str(error))
    except Exception as error:
        turns.send(error=f"{type(error).__name__}: {error}")
    else:
        turns.finished()


if __name__ == "__main__":
    main()
