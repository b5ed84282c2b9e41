"""The settings of a training run: their defaults, their bounds, and how editors see them."""

import dataclasses
import math
import re

import pytest

from backprop_xp.diagnosis.learning_rate_finder import find_learning_rate
from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.losses import LOSSES
from backprop_xp.nn.optimizers import sgd
from backprop_xp.training.fit import fit
from backprop_xp.training.settings import TrainingOptions, TrainingSettings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("learning_rate", v) for v in (0.0, -0.1, math.inf, math.nan, "0.1", True)),
        *(("batch_size", v) for v in (-1, 2.5, "32", True)),
        *(("epochs", v) for v in (-1, 1.0, None)),
        *(("seed", v) for v in (-1, 0.5, "1")),
        *(("target_loss", v) for v in (-0.1, math.nan, "0")),
    ],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(ConfigurationError, match=f"{name} is ") as failure:
        TrainingSettings(**{name: value})
    assert repr(value) in failure.value.message
    assert failure.value.hint.startswith("give a ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 1),
        ("learning_rate", 1e-9),
        ("batch_size", 0),
        ("epochs", 0),
        ("seed", 0),
        ("seed", 2**70),
        ("target_loss", 0.0),
    ],
)
def test_the_bounds_themselves_are_allowed(name, value):
    assert getattr(TrainingSettings(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value", "suggestion"),
    [
        ("loss", "crossentropy", "cross_entropy"),
        ("optimizer", "Adam", "adam"),
        ("initializer", "he", "he_normal"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(name, value, suggestion):
    with pytest.raises(ConfigurationError, match=f"unknown {name} '{value}'") as failure:
        TrainingSettings(**{name: value})
    assert suggestion in failure.value.hint


def test_an_unknown_setting_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="unknown setting 'batchsize'") as failure:
        TrainingSettings.of({"batchsize": 10})
    assert "did you mean 'batch_size'?" in failure.value.hint


def test_a_hyperparameter_that_the_optimizer_has_not_is_refused():
    with pytest.raises(ConfigurationError, match="of the optimizer 'adam' 'momentum'"):
        TrainingSettings(optimizer="adam", momentum=0.9)


def test_a_hyperparameter_reaches_the_optimizer():
    plain = TrainingSettings(optimizer="adamw", beta1=0.5, weight_decay=0.25).resolve_optimizer()
    _, _, eta, _, keep = plain.scalars(0.1, 2)
    assert abs(keep - (1.0 - 0.1 * 0.25)) <= 1e-15
    assert abs(eta - 0.1 * math.sqrt(1.0 + 0.999) * 0.5 / (1.0 - 0.5**2)) <= 1e-15


def test_records_of_ones_own_are_taken_as_they_are():
    loss, optimizer = LOSSES["squared_error"]._replace(name="mine"), sgd()
    settings = TrainingSettings(loss=loss, optimizer=optimizer)
    assert settings.loss is loss
    assert settings.resolve_optimizer() is optimizer


def test_settings_cannot_be_changed_after_they_are_checked():
    with pytest.raises(AttributeError):
        TrainingSettings().epochs = -1


# --- typed entry points ------------------------------------------------------------------------


def test_the_options_for_type_checkers_are_the_settings():
    fields = [field.name for field in dataclasses.fields(TrainingSettings)]
    assert list(TrainingOptions.__annotations__) == fields


@pytest.mark.parametrize("function", [fit, find_learning_rate])
def test_editors_and_type_checkers_know_the_settings_of_a_function(function):
    assert function.__annotations__["settings"] == "Unpack[TrainingOptions]"


@pytest.mark.parametrize("field", dataclasses.fields(TrainingSettings), ids=lambda f: f.name)
def test_the_help_of_fit_lists_every_setting_with_its_default(field):
    pattern = rf"^ *(\w+, )*{field.name}(, \w+)* : .*, default {re.escape(repr(field.default))}$"
    assert re.search(pattern, fit.__doc__, re.MULTILINE)
