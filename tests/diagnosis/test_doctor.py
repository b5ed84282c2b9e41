"""The doctor finds planted faults and stays silent on healthy runs.

`scripts/doctor_check.py` measures how often it is right.
"""

import numpy as np
import pytest

from backprop_xp import (
    ConfigurationError,
    DataError,
    DivergenceError,
    Network,
    diagnose,
    fit,
    quantile,
)
from backprop_xp.diagnosis.doctor import RULES
from backprop_xp.nn.network import initial_parameters

RNG = np.random.default_rng(5)
LABELS = RNG.integers(3, size=300)
X = RNG.normal(size=(3, 6))[LABELS] * 2.0 + RNG.normal(size=(300, 6))
X = (X - X.mean(axis=0)) / X.std(axis=0)
NETWORK = Network((6, 20, 3), ("relu", "softmax"))
TOLD = {"epochs": 12, "batch_size": 10, "seed": 0, "learning_rate": 0.003, "dtype": "float32"}


def examined(network=NETWORK, x=X, labels=LABELS, parameters=None, **settings):
    """Train on two thirds of the rows, validate on the others, and ask the doctor."""
    train, validation = (x[:200], labels[:200]), (x[200:], labels[200:])
    diverged, told = False, {**TOLD, **settings}
    try:
        state = fit(network, train, validation, parameters=parameters, **told)
    except DivergenceError as error:
        state, diverged = error.state, True
    loss = told.get("loss")
    return diagnose(network, state, train, validation, loss=loss, diverged=diverged)


def drawn(network, initializer):
    return initial_parameters(network, 0, initializer, xp=np, dtype=np.float32)


def test_nothing_is_found_in_a_training_that_went_well(library):
    data = library.array(X, "float32"), library.array(LABELS, "index")
    state = fit(NETWORK, data, **TOLD)
    assert state.history[-1]["accuracy"] > 0.9
    assert diagnose(NETWORK, state, data) == []


@pytest.mark.parametrize("epochs", [1, 2, 12])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_training_figures_of_an_epoch_that_are_worse_than_later_ones_are_no_fault(dropout, epochs):
    network, train, held_out = Network((6, 60, 3), ("relu", "softmax")), slice(200), slice(200, 300)
    data = (X[train], LABELS[train]), (X[held_out], LABELS[held_out])
    settings = {**TOLD, "epochs": epochs, "dropout": dropout, "evaluate_training": True}
    state = fit(network, *data, **settings)
    last = state.history[-1]
    if dropout or epochs < 12:
        assert last["loss"] > 1.1 * last["train_loss"]
        assert last["loss"] > last["validation_loss"]
    assert diagnose(network, state, *data) == []


def test_a_regression_that_went_well_is_left_in_peace():
    network = Network((6, 20, 1), ("tanh", "identity"))
    assert examined(network, labels=X[:, :1] * 0.5 - X[:, 1:2]) == []


def test_inputs_of_another_size_are_found_with_their_column():
    with pytest.warns(UserWarning, match="inputs of column 2 have a root mean square of 9"):
        large = examined(x=X * np.where(np.arange(6) == 2, 1000.0, 1.0))[0]
    assert large.fault == "inputs not scaled"
    assert large.evidence.startswith("the inputs of column 2 have a root mean square of 9")
    with pytest.warns(UserWarning, match="and all others a smaller one"):
        small = examined(x=X * 1e-4)[0]
    assert small.fault == "inputs not scaled"
    assert small.evidence.endswith("and all others a smaller one")


PRICES = 200_000.0 + 80_000.0 * (X[:, :1] - 0.5 * X[:, 1:2])
REGRESSION = Network((6, 20, 1), ("relu", "identity"))


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("loss", ["half_squared_error", "mean_absolute_error", quantile(0.3)])
def test_large_targets_are_found_and_nothing_else_is_blamed(optimizer, loss):
    with pytest.warns(UserWarning, match="the targets have a mean of"):
        found = examined(REGRESSION, labels=PRICES, optimizer=optimizer, loss=loss)
    assert found[0].fault == "targets not scaled"
    assert "a mean of 2.01e+05 and a standard deviation of 9" in found[0].evidence
    assert found[0].remedy.startswith("standardize them")
    others = {one.fault for one in found}
    assert not others & {"labels look shuffled", "learning rate too high", "learning rate too low"}


def test_tiny_targets_are_found():
    with pytest.warns(UserWarning, match="the targets of column 1 have a mean of"):
        found = examined(
            *(Network((6, 20, 2), ("relu", "identity")), X),
            np.concatenate([PRICES, 2.0 * PRICES], axis=1) * 1e-12,
            learning_rate=1e-6,
        )
    assert found[0].fault == "targets not scaled"


def test_large_targets_that_were_learned_are_left_in_peace():
    with pytest.warns(UserWarning, match="the targets have a mean of"):
        found = examined(REGRESSION, labels=50.0 * X[:, :1], learning_rate=0.1, epochs=40)
    assert found == []


def test_counts_are_not_to_be_standardized():
    network = Network((6, 20, 1), ("relu", "exp"))
    counts = np.round(np.exp(3.0 + 0.5 * X[:, :1]))
    assert counts.mean() > 20.0
    assert examined(network, labels=counts, loss="poisson", epochs=40) == []


def test_columns_and_classes_are_called_by_their_names():
    x = np.concatenate([X[:, :5], 500.0 + X[:, 5:]], axis=1)
    state = fit(NETWORK, (x, LABELS), **TOLD, diagnostics=False)
    found = diagnose(NETWORK, state, (x, LABELS), features=list("abcdef"))
    assert "the inputs of column f have a root mean square of 500" in found[0].evidence
    rare = np.where(RNG.random(300) < 0.05, 0, 1)
    state = fit(NETWORK, (X, rare), **{**TOLD, "epochs": 6})
    found = diagnose(NETWORK, state, (X, rare), classes=["emu", "cat", "dog"])
    assert [one for one in found if one.evidence.startswith("class emu is never predicted")]


def test_gradients_that_explode_from_too_large_weights_are_found():
    network = Network((6, *[32] * 6, 3), (*["relu"] * 6, "softmax"))
    found = examined(network, parameters=drawn(network, "standard_normal"))
    assert found[0].fault == "exploding gradients"
    assert "--initializer" in found[0].remedy


def test_gradients_that_vanish_in_a_deep_sigmoid_network_are_found():
    network = Network((6, *[20] * 6, 3), (*["sigmoid"] * 6, "softmax"))
    found = examined(network, optimizer="sgd", learning_rate=0.1)
    assert [one.fault for one in found] == ["vanishing gradients"]


def test_dead_units_are_found_in_their_layer():
    network = Network((6, 20, 20, 3), ("relu", "relu", "softmax"))
    layers = drawn(network, "auto")
    bias = np.where(np.arange(20) < 14, -50.0, 0.0).astype("float32")
    layers[1] = layers[1]._replace(bias=bias)
    (found,) = examined(network, parameters=layers)
    assert found.fault == "dead units"
    share = float(found.evidence.partition("%")[0])
    assert 70.0 <= share < 90.0  # a few more may have died since
    assert " of the units of layer 2 " in found.evidence


def test_saturated_units_are_found():
    network = Network((6, 20, 3), ("tanh", "softmax"))
    layers = drawn(network, "auto")
    layers[0] = layers[0]._replace(weights=layers[0].weights * 100.0)
    assert "saturated units" in [one.fault for one in examined(network, parameters=layers)]


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 1e4), ("adam", 10.0), ("momentum", 50.0)])
def test_a_learning_rate_that_is_too_high_is_found(optimizer, rate):
    found = examined(optimizer=optimizer, learning_rate=rate)
    assert "learning rate too high" in [one.fault for one in found]


def test_the_first_epochs_on_a_rare_class_are_not_blamed_on_the_rate():
    x = np.random.default_rng(0).normal(size=(3000, 6))
    rare = (x[:, 0] > np.sort(x[:, 0])[-7]).astype(int)
    network = Network((6, 20, 2), ("relu", "softmax"))
    told = {"optimizer": "adam", "batch_size": 64, "epochs": 40, "seed": 0}
    state = fit(network, (x, rare), **told, learning_rate=0.001)
    first, constant = state.history[0]["loss"], np.mean(rare) * -np.log(np.mean(rare))
    assert first > 20.0 * constant
    assert [one.fault for one in diagnose(network, state, (x, rare))] == ["class never predicted"]
    state = fit(network, (x, rare), **told, learning_rate=10.0)
    assert "learning rate too high" in [one.fault for one in diagnose(network, state, (x, rare))]


def test_a_target_that_is_always_the_same_is_not_blamed_on_the_rate():
    assert examined(REGRESSION, labels=np.full((300, 1), 0.5)) == []


def test_a_training_that_diverges_in_its_first_epoch_is_examined_all_the_same():
    network = Network((6, 20, 1), ("relu", "identity"))
    told = {"labels": X[:, :1], "optimizer": "sgd", "learning_rate": 1e3}
    (found,) = examined(network, **told)
    assert found.fault == "learning rate too high"
    assert found.evidence == "training diverged"


def test_a_learning_rate_that_is_too_low_is_found():
    (found,) = examined(learning_rate=1e-7)
    assert found.fault == "learning rate too low"
    assert "the 240 steps changed the weights by at most 0.0" in found.evidence


def test_labels_that_belong_to_other_rows_are_found():
    found = examined(labels=RNG.permutation(LABELS))
    assert "labels look shuffled" in [one.fault for one in found]


def test_without_validation_rows_the_loss_on_the_training_set_is_meant():
    network, labels = Network((6, 2, 3), ("tanh", "softmax")), RNG.permutation(LABELS)
    state = fit(network, (X, labels), **{**TOLD, "learning_rate": 0.0003})
    (found,) = diagnose(network, state, (X, labels))
    assert found.fault == "labels look shuffled"
    assert found.evidence.startswith("the loss on the training set is not ")
    assert found.evidence.endswith("below that of a constant prediction")


def test_too_few_rows_for_many_inputs_are_not_blamed_on_a_small_network():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(300, 100)), rng.integers(3, size=300)
    network = Network((100, 50, 3), ("relu", "softmax"))
    (found,) = examined(network, x, labels, patience=60)
    assert found.fault == "labels look shuffled"
    assert found.evidence == "the validation loss was never below that of a constant prediction"
    assert "too few rows for so many inputs" in found.remedy
    assert "too small" not in found.remedy


def test_a_class_that_is_never_predicted_is_found():
    labels = np.where((LABELS == 1) & (RNG.random(300) < 0.2), 0, np.maximum(LABELS, 1))
    found = examined(labels=labels, epochs=6)
    (found,) = [one for one in found if one.fault == "class never predicted"]
    count = np.sum(labels[:200] == 0)
    assert found.evidence.endswith(f"and {count} of 200 training samples belong to it")


def test_overfitting_is_found_unless_it_was_stopped_early():
    rng = np.random.default_rng(0)
    x = np.concatenate([X, rng.normal(size=(300, 40))], axis=1)
    labels = np.where(rng.random(300) < 0.3, rng.integers(3, size=300), LABELS)
    network = Network((46, 100, 3), ("relu", "softmax"))
    (found,) = examined(network, x, labels, epochs=60)
    assert found.fault == "overfitting"
    after = "while the loss on the training set, measured after the last epoch, is 0.0"
    assert after in found.evidence
    assert examined(network, x, labels, epochs=60, patience=5) == []


def test_a_cause_stands_before_what_it_causes():
    names = list(RULES)
    assert names.index("inputs not scaled") == 0
    assert names.index("learning rate too high") < names.index("class never predicted")


def test_a_training_without_diagnostics_is_examined_by_what_there_is():
    assert examined(diagnostics=False) == []
    assert examined(diagnostics=False, x=X * 1e3)[0].fault == "inputs not scaled"


def test_a_training_of_no_epoch_is_no_fault():
    assert examined(epochs=0) == []


def test_weights_of_zero_are_no_step_that_is_too_large():
    network = Network((6, 3), "softmax")
    assert examined(network, initializer="zeros", learning_rate=0.01) == []


def test_data_that_does_not_fit_is_refused():
    state = fit(NETWORK, (X, LABELS), **{**TOLD, "epochs": 1})
    with pytest.raises(DataError, match="takes 6 inputs"):
        diagnose(NETWORK, state, (X[:, :4], LABELS))
    with pytest.raises(ConfigurationError, match="unknown loss"):
        diagnose(NETWORK, state, (X, LABELS), loss="crossentropy")
