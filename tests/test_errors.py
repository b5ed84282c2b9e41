"""The errors: their hints in Python's tracebacks, and the look-up of names."""

import copy
import pickle
import traceback

import pytest

from backprop_xp import ConfigurationError, DeviceError, TrainState
from backprop_xp.errors import look_up, unknown_name
from backprop_xp.training.state import TrainingInterrupted


def interrupted():
    return TrainingInterrupted(TrainState([], [], epoch=0, step=0, seed=0))


def printed(error):
    return "".join(traceback.format_exception_only(error)).splitlines()[1:]


@pytest.mark.parametrize("twin", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_traceback_shows_the_hint_once(twin):
    error = ConfigurationError("beta1 is 2", "give a number from 0 to below 1")
    assert str(error) == "beta1 is 2"
    for each in (error, twin(error)):
        assert printed(each) == [each.hint] == ["give a number from 0 to below 1"]


@pytest.mark.parametrize("error", [DeviceError("no GPU"), interrupted()])
def test_a_hint_that_is_set_later_replaces_its_note_alone(error):
    assert (error.hint, printed(error)) == (None, [])
    error.hint = "use the CPU"
    error.add_note("noted by somebody else")
    error.hint = "use the CPU\nor another GPU"
    assert printed(error) == ["noted by somebody else", "use the CPU", "or another GPU"]
    error.hint = None
    assert (error.hint, printed(error)) == (None, ["noted by somebody else"])


def test_a_name_that_is_no_string_is_unknown_and_a_record_is_returned():
    known = {"one": 1}
    assert (look_up("number", "one", known), look_up("number", 2, known, int)) == (1, 2)
    for name in (2, ["one"], None):
        with pytest.raises(ConfigurationError, match="unknown number") as failure:
            look_up("number", name, known, also="many")
        assert failure.value.hint.lower().endswith("choose from: one, many")


def test_of_equally_near_names_the_first_one_is_suggested():
    error = unknown_name("example", "note-00", ["note-000", "note-001", "xor"])
    assert error.hint.startswith("did you mean 'note-000'?")
