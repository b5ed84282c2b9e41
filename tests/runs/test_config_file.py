"""Configuration files that are damaged or hostile: one error that names the file and the key."""

import os
import time

import pytest

from backprop_xp.errors import ConfigurationError
from backprop_xp.runs import config_file
from backprop_xp.runs.config_file import as_toml, load_settings, read_settings, read_toml
from backprop_xp.runs.settings import RunSettings


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "c.toml"
        path.write_text(content)
        return path

    return write


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("epochs = 3\nseed = " + "9" * 5000, "line 2 has a number that is too large"),
        ("seed = 0x" + "f" * 20_000, "seed in the configuration file .* is too large"),
        ("hidden = [[0x" + "f" * 20_000 + "]]", "hidden in the configuration file .* too large"),
        ("l2 = 1" + "0" * 400, r"l2 in .* is 10+\.\.\.0+\n"),
        ("drop = " + "[" * 5000 + "]" * 5000, "its brackets are nested too deep"),
        ("a = " + "{a = " * 5000 + "1" + "}" * 5000, "its brackets are nested too deep"),
        ("epochs = 3\na" + ".a" * 100_000 + " = 1", "line 2 has a key of more than 50 parts"),
        ("[" + "'x' . " * 100_000 + "a]", "line 1 has a key of more than 50 parts"),
        ("#" * config_file.LARGEST + "#", "has more than 2,097,152 bytes"),
        ('data = "a\\u0000.csv"', "data in .* contains a NUL character"),
        ('drop = ["a", "b\\u0000"]', "entry 2 of drop in .* contains a NUL character"),
        ("hidden = [30, [20]]", r"entry 2 of hidden in .* is \[20\]"),
        ("hidden = [true]", "entry 1 of hidden in .* is True"),
        ("dropout = ['0.5']", "entry 1 of dropout in .* is '0.5'"),
        ("drop = [{a = 1}]", "entry 1 of drop in .* is {'a': 1}"),
        ("seed = 1979-05-27", "seed in .* is datetime"),
        ("hidden = [" + "1," * 100_000 + "]", "a network of 100,001 layers is too deep"),
        ("hidden = [1" + "0" * 30 + "]", r"layer 1 has the size 10+"),
        ("learning_rate = nan", "learning_rate is nan"),
    ],
)
def test_a_hostile_file_is_one_error_that_names_it(write, content, said):
    path = write(content)
    started = time.perf_counter()
    with pytest.raises(ConfigurationError, match=said) as caught:
        load_settings(path)
    assert str(path) in caught.value.message
    assert len(caught.value.message) < 500
    assert time.perf_counter() - started < 5


def test_a_key_of_many_parts_within_text_or_numbers_is_not_one(write):
    path = write("label = 'a, b'\n# " + "a." * 40 + "\ndropout = [" + "0.5, " * 60 + "]\n")
    assert read_settings(path)["dropout"] == [0.5] * 60


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="this system has no /dev/zero")
def test_a_file_without_an_end_is_not_read_on():
    with pytest.raises(ConfigurationError, match="has more than 2,097,152 bytes"):
        read_toml("/dev/zero", "file")


def test_settings_of_any_text_and_any_seed_are_read_back(write):
    settings = RunSettings(data="é\x1b\x7f\u2028.csv", label="a\tb\"'", drop=("x\n",), seed=2**70)
    assert load_settings(write(as_toml(settings))) == settings
