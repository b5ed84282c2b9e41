"""``backprop-xp reproduce`` on a device of choice."""

import pytest
from command_line import done, refused

from backprop_xp.experiments import experiment, records

SMALL = records.Recipe((20,), "relu", epochs=2, batch_size=64, learning_rate=0.005)


@pytest.fixture
def small_record(monkeypatch):
    """Make the record of the digits a short one."""
    ours = experiment.get_experiment("digits-record")
    run = records._record(SMALL, lambda data_dir: records.load_digits(), 357, {"wrong of 357": 0})
    short = ours._replace(run=run, epochs=2)
    monkeypatch.setattr(experiment, "get_experiment", lambda name: short)


def test_a_record_is_told_epoch_by_epoch_and_in_a_sentence(small_record):
    result = done("reproduce", "digits-record")
    lines = result.err.splitlines()
    assert lines[-2:] == [line for line in lines if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines[-2:]] == ["1/2", "2/2"]
    assert any(line.startswith("device: ") for line in lines)
    assert "test digits are classified correctly (" in result.out.splitlines()[-1]


def test_a_record_runs_with_the_library_that_is_asked_for(small_record):
    told = done(
        "reproduce", "digits-record", "--backend", "array_api_strict", "--device", "cpu", "--json"
    ).json
    assert "on cpu (array_api_strict)" in told["verdict"]
    assert [epoch["epoch"] for epoch in told["history"]] == [1, 2]


def test_other_experiments_refuse_a_device():
    message, hint = refused(2, "configuration", "reproduce", "xor", "--backend", "torch")
    assert message == "the experiment 'xor' runs with NumPy on the CPU"
    assert hint == "leave out --device and --backend"
