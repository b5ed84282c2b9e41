"""Arrays on a GPU that is not CuPy's current one: results stay there, and nothing moves."""

import numpy as np
import pytest

from backprop_xp import backward, check_gradients, fit, forward, loss_and_gradients
from backprop_xp.nn.losses import get_loss, loss_and_delta
from backprop_xp.nn.network import Layer, Network
from backprop_xp.training.evaluation import evaluate, predict

cupy = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)

RNG = np.random.default_rng(0)
X, LABELS = RNG.normal(size=(12, 3)), RNG.integers(0, 2, 12)
NETWORK, LOSS = Network((3, 4, 2), ("tanh", "softmax")), get_loss("cross_entropy")
WEIGHTS = [Layer(RNG.normal(size=(4, 3)), np.zeros(4)), Layer(RNG.normal(size=(2, 4)), np.zeros(2))]


@pytest.fixture(autouse=True)
def two_gpus():
    """Make the first GPU the current one, as it is by default."""
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        count = 0
    if count < 2:
        pytest.skip(f"CuPy sees {count} GPUs, and this needs two")
    with cupy.cuda.Device(0):
        yield


def on_second(x):
    with cupy.cuda.Device(1):
        return cupy.asarray(x)


def parameters():
    return [Layer(*map(on_second, layer)) for layer in WEIGHTS]


def devices(*arrays):
    return {array.device.id for array in arrays}


def test_the_functions_of_a_step_compute_where_their_arrays_are():
    x, y = on_second(X), on_second(np.eye(2)[LABELS])
    tape = forward(NETWORK, parameters(), x)
    assert devices(*tape.a, *tape.z) == {1}
    step = loss_and_gradients(NETWORK, LOSS, parameters(), x, y)
    with cupy.cuda.Device(1):
        activation = NETWORK.activations[-1]
        _, delta = loss_and_delta(LOSS, activation, tape.z[-1], tape.a[-1], y, xp=cupy)
    gradients = backward(NETWORK, parameters(), tape, delta)
    for found in (step.gradients, gradients):
        assert devices(*(g for layer in found.layers for g in layer)) == {1}
    wanted = loss_and_gradients(NETWORK, LOSS, WEIGHTS, X, np.eye(2)[LABELS])
    np.testing.assert_allclose(
        cupy.asnumpy(gradients.layers[0].weights), wanted.gradients.layers[0].weights, rtol=1e-10
    )


def test_measures_are_taken_where_the_arrays_are():
    x, y = on_second(X), on_second(np.eye(2)[LABELS])
    assert check_gradients(NETWORK, LOSS, parameters(), x, y).error < 1e-8
    assert devices(predict(NETWORK, parameters(), x)) == {1}
    measured = evaluate(NETWORK, LOSS, parameters(), x, y, xp=cupy)
    wanted = evaluate(NETWORK, LOSS, WEIGHTS, X, np.eye(2)[LABELS], xp=np)
    assert measured["loss"] == pytest.approx(wanted["loss"], rel=1e-10)
    assert (
        fit(NETWORK, (x, on_second(LABELS)), epochs=1, seed=0).parameters[0].weights.device.id == 1
    )


@pytest.mark.parametrize("kind", ["MLPClassifier", "MLPRegressor"])
def test_an_estimator_stays_on_the_gpu_of_its_inputs(kind):
    sklearn = pytest.importorskip("sklearn")
    import backprop_xp.estimators as estimators

    model = getattr(estimators, kind)(hidden_layer_sizes=(4,), max_iter=2, random_state=0)
    y = LABELS if kind == "MLPClassifier" else X[:, 0]
    with sklearn.config_context(array_api_dispatch=True):
        with pytest.warns(Warning, match="iterations"):
            model.fit(on_second(X), on_second(y))
        assert devices(*model.coefs_, *model.intercepts_) == {1}
        assert devices(model.predict(on_second(X))) == {1}
        model.partial_fit(on_second(X), on_second(y))
        assert devices(*model.coefs_) == {1}
