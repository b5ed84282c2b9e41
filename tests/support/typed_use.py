"""Uses of the public functions that mypy checks: it reports an ignored error that is none."""

from backprop_xp import Network, find_learning_rate, fit

DATA = [[0.0], [1.0]], [0, 1]


def calls() -> None:
    """Call functions with settings that exist, and with some that do not."""
    network = Network((1, 2), "softmax")
    fit(network, DATA, epochs=1, dropout=0.5, optimizer="adam", learning_rate=0.1)
    fit(network, DATA, lr=0.1)  # type: ignore[call-arg]
    fit(network, DATA, epochs="1")  # type: ignore[arg-type]
    find_learning_rate(network, DATA, batch_sise=2)  # type: ignore[call-arg]
