"""PyTorch as the oracle: its losses, autograd, optimizers and regularizers, all in float64."""

import numpy as np
import pytest
import torch
from helpers import TOLERANCE, entry, error, errors, smooth_case

from backprop_xp.backend import random
from backprop_xp.nn.activations import ACTIVATIONS
from backprop_xp.nn.backpropagation import loss_and_gradients
from backprop_xp.nn.dropout import dropout_mask
from backprop_xp.nn.losses import LOSSES, get_loss, loss_and_delta
from backprop_xp.nn.network import Layer, Network, initial_parameters, map_arrays
from backprop_xp.nn.optimizers import (
    OPTIMIZERS,
    get_optimizer,
    gradient_scale,
    initial_slots,
    update,
)
from backprop_xp.training.fit import fit

F = torch.nn.functional

ACTIVATE = {
    "identity": lambda z: z,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "leaky_relu": lambda z: F.leaky_relu(z, 0.01),
    "elu": F.elu,
    "gelu": lambda z: F.gelu(z, approximate="tanh"),
    "silu": F.silu,
    "softplus": lambda z: F.softplus(z, threshold=1e9),  # by default it is z above 20
    "softmax": lambda z: torch.softmax(z, -1),
}
OF_VALUES = {
    "half_squared_error": lambda a, y: 0.5 * F.mse_loss(a, y, reduction="sum") / len(y),
    "mean_half_squared_error": lambda a, y: 0.5 * F.mse_loss(a, y),
    "squared_error": lambda a, y: F.mse_loss(a, y, reduction="sum") / len(y),
    "mean_squared_error": F.mse_loss,
    "mean_absolute_error": F.l1_loss,
    "huber": F.huber_loss,
}
OF_RATES = {
    "poisson": lambda a, y: (
        F.poisson_nll_loss(a, y, log_input=False, eps=0.0, reduction="sum") / len(y)
    ),
}
OF_LOGITS = {
    "cross_entropy": F.cross_entropy,
    "binary_cross_entropy": lambda z, y: (
        F.binary_cross_entropy_with_logits(z, y, reduction="sum") / len(y)
    ),
}
OF_PROBABILITIES = {
    "cross_entropy": lambda a, y: -torch.sum(y * torch.log(a)) / len(y),
    "binary_cross_entropy": lambda a, y: F.binary_cross_entropy(a, y, reduction="sum") / len(y),
}
FUSED = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}

PAIRS = [
    *((loss, output) for loss in OF_VALUES for output in ACTIVATE),
    *((loss, output) for loss in OF_PROBABILITIES for output in ("sigmoid", "softmax")),
    *((loss, output) for loss in OF_RATES for output in ("softplus", "sigmoid", "softmax")),
]
# Without the logits, both sides lose digits of 1 - a for outputs near 0 and 1.
STABLE = [pair for pair in PAIRS if pair[0] in OF_VALUES or FUSED.get(pair[0]) == pair[1]]
Y = np.asarray([[0.1, 0.2, 0.7], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.3, 0.3, 0.4]])


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Keep PyTorch from sharing out matrices this small, which takes longer than the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", [*sorted(set(ACTIVATIONS) - {"step"}), *LOSSES])
def test_every_loss_and_every_activation_with_a_derivative_is_compared(name):
    compared = {**ACTIVATE, **OF_VALUES, **OF_RATES, **OF_PROBABILITIES}
    entry(compared, name, "PyTorch's functions at the top of tests/nn/test_torch_oracle.py")


def tensor(x):
    return torch.tensor(x, dtype=torch.float64, requires_grad=True)


def torch_loss(loss, output, z, y):
    """Return PyTorch's loss from the logits, by its own stable form where it has one."""
    if FUSED.get(loss) == output:
        return OF_LOGITS[loss](z, y)
    return {**OF_VALUES, **OF_PROBABILITIES, **OF_RATES}[loss](ACTIVATE[output](z), y)


def torch_step(network, loss, layers, x, y):
    """Return the loss of a network with its graph; ``layers`` are pairs of leaf tensors."""
    a = torch.tensor(x)
    for place, (weights, bias) in enumerate(layers):
        z = F.linear(a, weights, bias)
        a = ACTIVATE[network.activations[place].name](z)
    return torch_loss(loss, network.activations[-1].name, z, torch.tensor(y))


@pytest.mark.parametrize(
    ("loss", "output", "size"), [*((*pair, 1.0) for pair in PAIRS), *((*p, 30.0) for p in STABLE)]
)
def test_losses_and_their_gradients_equal_autograd(loss, output, size):
    z = size * np.linspace(-1.0, 1.0, 12)[[5, 2, 9, 0, 11, 7, 1, 8, 3, 10, 4, 6]].reshape(4, 3)
    leaf = tensor(z)
    wanted = torch_loss(loss, output, leaf, torch.tensor(Y))
    wanted.backward()
    activation = ACTIVATIONS[output]
    value, delta = loss_and_delta(
        get_loss(loss), activation, z, activation.forward(z, np), Y, xp=np
    )
    assert error(value, wanted.item()) <= TOLERANCE["float64"]
    assert error(delta, leaf.grad) <= TOLERANCE["float64"]


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("hidden", [f for f in ACTIVATE if f != "identity"])
@pytest.mark.parametrize(("loss", "output"), PAIRS)
def test_every_gradient_equals_autograd(loss, output, hidden, bias):
    network = Network((5, 6, 4, 3), (hidden, hidden, output), bias)
    parameters, x = smooth_case(network, 4, margin=0.0)
    layers = [tuple(None if p is None else tensor(p) for p in layer) for layer in parameters]
    wanted = torch_step(network, loss, layers, x, Y)
    wanted.backward()
    step = loss_and_gradients(network, get_loss(loss), parameters, x, Y)
    gradients = [Layer(*(None if p is None else p.grad for p in layer)) for layer in layers]
    assert error(step.loss, wanted.item()) <= TOLERANCE["float64"]
    assert errors(step.gradients.layers, gradients) <= TOLERANCE["float64"]


THEIRS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.99, eps=1e-8),
    "adam": lambda p: torch.optim.Adam(p, lr=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.01),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_hundred_steps_of_every_optimizer_equal_pytorchs(name):
    make = entry(THEIRS, name, "THEIRS in tests/nn/test_torch_oracle.py")
    network = Network((5, 8, 3), ("tanh", "softmax"))
    parameters, x = smooth_case(network, 4, margin=0.0)
    layers = [tuple(tensor(p) for p in layer) for layer in parameters]
    theirs = make([p for layer in layers for p in layer])
    ours = get_optimizer(name)
    slots = initial_slots(ours, parameters, xp=np)
    start = map_arrays(np.copy, parameters)
    for step in range(1, 101):
        theirs.zero_grad()
        torch_step(network, "cross_entropy", layers, x, Y).backward()
        theirs.step()
        scalars = ours.scalars(0.1, step)
        own = loss_and_gradients(
            network,
            get_loss("cross_entropy"),
            parameters,
            x,
            Y,
            loss_scale=gradient_scale(ours, scalars),
        )
        parameters, slots = update(ours, parameters, own.gradients.layers, slots, scalars, xp=np)
    wanted = [Layer(*(p.detach() for p in layer)) for layer in layers]
    assert errors(parameters, wanted) <= 1e-10  # 100 roundings, fed back through the gradients
    assert errors(parameters, start) > 0.1  # they have gone somewhere


# --- training with regularizers -----------------------------------------------------------------

REGULARIZERS = {
    "l2": {"l2": 2.0},
    "l2, plain, with the biases": {"l2": 0.05, "penalty": "plain", "penalize_biases": True},
    "l1": {"l1": 0.5},
    "dropout": {"dropout": (0.5, 0.25)},
    "label smoothing": {"label_smoothing": 0.1},
    "class weights": {"class_weight": {0: 2.0, 2: 0.5}},
    "clipping": {"clip_norm": 0.8},
    "max-norm": {"max_norm": 0.9},
}
ALL = {name: value for told in REGULARIZERS.values() for name, value in told.items()}
REGULARIZERS["all at once"] = {**ALL, "l1": 0.01}

TRAINED = Network((5, 8, 6, 3), ("tanh", "relu", "softmax"))
RNG = np.random.default_rng(3)
X, LABELS = RNG.normal(size=(18, 5)), RNG.integers(0, 3, 18)
ORDERS = [RNG.permutation(18) for _ in range(25)]  # in batches of 5, 5, 5 and 3: 100 steps
SEED = 11


def torch_logits(layers, x, step, dropout):
    a = torch.tensor(x)
    for place, (weights, bias) in enumerate(layers):
        z = F.linear(a, weights, bias)
        a = ACTIVATE[TRAINED.activations[place].name](z)
        if place < len(dropout):
            key = random.key_of(SEED, random.DROPOUT, place + 1)
            told = {"xp": np, "dtype": np.float64}
            a = a * torch.tensor(dropout_mask(tuple(a.shape), dropout[place], key, step, **told))
    return z


def torch_mean(z, labels, class_weight, smoothing):
    """Return PyTorch's mean cross-entropy, with the class weights applied after the smoothing:
    PyTorch itself combines the two differently."""
    weights = torch.tensor([class_weight.get(k, 1.0) for k in range(3)], dtype=torch.float64)
    if not smoothing:
        return F.cross_entropy(z, labels, weight=weights)
    losses = F.cross_entropy(z, labels, label_smoothing=smoothing, reduction="none")
    return (weights[labels] * losses).sum() / weights[labels].sum()


def clip(tensors, limit):
    # PyTorch divides by the norm plus 1e-6, which is taken back here.
    norm = float(torch.nn.utils.clip_grad_norm_(tensors, float("inf")))
    torch.nn.utils.clip_grad_norm_(tensors, limit * (norm + 1e-6) / norm)
    return norm


def bound(weights, limit):
    # PyTorch divides by the norm plus 1e-7, which is taken back here.
    norms = torch.linalg.vector_norm(weights, dim=1)
    rows = [
        torch.renorm(row[None, :], 2, 0, limit * (norm + 1e-7) / norm)
        for row, norm in zip(weights, norms.tolist(), strict=True)
    ]
    return torch.cat(rows)


def torch_training(start, make, told):
    """Train by autograd and PyTorch's optimizer for 100 steps; return the layers, and the norms
    of the gradients that were clipped."""
    layers = [tuple(tensor(p) for p in layer) for layer in start]
    everything = [p for layer in layers for p in layer]
    penalized = everything if told.get("penalize_biases") else [w for w, _ in layers]
    share = 1.0 if told.get("penalty") == "plain" else 1.0 / 18
    optimizer, norms = make(everything), []
    batches = [order[at : at + 5] for order in ORDERS for at in range(0, 18, 5)]
    for step, rows in enumerate(batches):
        optimizer.zero_grad()
        z = torch_logits(layers, X[rows], step, told.get("dropout", ()))
        loss = torch_mean(
            *(z, torch.tensor(LABELS[rows])),
            *(told.get("class_weight", {}), told.get("label_smoothing", 0.0)),
        )
        for p in penalized:
            loss = loss + told.get("l1", 0.0) * share * p.abs().sum()
            loss = loss + 0.5 * told.get("l2", 0.0) * share * (p**2).sum()
        loss.backward()
        if "clip_norm" in told:
            norms.append(clip(everything, told["clip_norm"]))
        optimizer.step()
        if "max_norm" in told:
            with torch.no_grad():
                for weights, _ in layers:
                    weights.copy_(bound(weights, told["max_norm"]))
    return [Layer(*(p.detach() for p in layer)) for layer in layers], norms


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("regularizer", REGULARIZERS)
def test_a_hundred_steps_with_each_regularizer_equal_pytorchs(regularizer, optimizer):
    told = REGULARIZERS[regularizer]
    start = initial_parameters(TRAINED, 2, "scaled_normal", xp=np, dtype=np.float64)
    make = {
        "momentum": lambda p: torch.optim.SGD(p, lr=0.03, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, lr=0.03),
    }[optimizer]
    wanted, norms = torch_training(start, make, told)
    trained = fit(
        TRAINED,
        (X, LABELS),
        parameters=start,
        optimizer=optimizer,
        learning_rate=0.03,
        batch_size=5,
        epochs=25,
        shuffle=lambda epoch, n: ORDERS[epoch],
        seed=SEED,
        **told,
    )
    assert trained.step == 100
    assert errors(trained.parameters, wanted) <= 1e-10  # 100 roundings, fed back again
    free, _ = torch_training(start, make, {})
    assert errors(wanted, free) > 0.01  # it has had a part
    if norms:
        assert min(norms) < told["clip_norm"] < max(norms)
