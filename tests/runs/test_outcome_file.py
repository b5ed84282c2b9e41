"""An outcome is read as far as it has its format, and what differs is named."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backprop_xp import RunSettings, prepare_run
from backprop_xp.formatting import json_safe
from backprop_xp.runs.outcome import outcome_of
from backprop_xp.runs.outcome_file import parse_json, read_outcome

OLD = Path(__file__).parents[1] / "support" / "version_0_1_0" / "run" / "outcome.json"


def read(content, folder):
    """Return what is read of an outcome, and the problems with it."""
    path, problems = folder / "outcome.json", []
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return read_outcome(path, problems), [text.removeprefix(f"{path} ") for text in problems]


def places(value, path=()):
    """Yield the path to every value in data."""
    yield path
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(item, (*path, key))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run")


@pytest.mark.parametrize("data", ["digits", "regression"])
def test_what_is_written_has_the_format(data, folder, tmp_path):
    if data == "regression":
        rows = "\n".join(f"{k},{k % 7},{k / 3},{k % 5}" for k in range(60))
        (tmp_path / "t.csv").write_text(f"a,b,c,d\n{rows}\n")
        chosen = {"data": str(tmp_path / "t.csv"), "label": "c,d", "task": "regression"}
    else:
        chosen = {}
    run = prepare_run(RunSettings(epochs=1, hidden=(4,), seed=0, device="cpu", **chosen))
    written = json.loads(json.dumps(json_safe(outcome_of(run, run.train()))))
    assert read(written, folder) == (written, [])


@settings(max_examples=60)
@given(st.data())
def test_any_value_anywhere_is_read_or_named(folder, data):
    outcome = json.loads(OLD.read_bytes())
    del outcome["review"]["worst"][2:], outcome["review"]["matrix"][2:]
    path = data.draw(
        st.sampled_from([p for p in places(outcome) if p and p != ("schema_version",)])
    )
    value = data.draw(
        st.sampled_from([None, True, -1, 2.5, 10**400, "x", [], {}, [[1]], {"a": 1}, float("nan")])
    )
    changed = copy.deepcopy(outcome)
    inside = changed
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = value
    found, problems = read(changed, folder)
    assert len(problems) <= 1
    for problem in problems:
        assert path[0] in problem
        assert path[0] not in found
    kept = {key: changed[key] for key in found}
    assert json.dumps(found) == json.dumps(kept)  # in which NaN is equal to itself


@settings(max_examples=60)
@given(st.binary(max_size=40), st.integers(0, 2**16))
def test_bytes_that_were_damaged_are_read_or_told(folder, noise, place):
    content = bytearray(OLD.read_bytes())
    place %= len(content)
    content[place : place + len(noise)] = noise
    found, problems = read(bytes(content), folder)
    assert found or len(problems) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' is repeated"),
        (b"[" * 100_000 + b"]" * 100_000, "it is nested too deeply"),
        (b"9" * 5000, "a number has thousands of digits"),
        (b'{"a": "\xff"}', "byte 8 is not encoded as UTF-8"),
        (b'{"a": ', "Expecting value"),
    ],
    ids=["repeated", "deep", "digits", "encoding", "cut"],
)
def test_json_that_is_not_usual_is_told(content, said):
    with pytest.raises(ValueError, match=said):
        parse_json(content)
