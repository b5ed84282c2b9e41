"""The help of each command: options in groups, readable defaults, and examples that are valid."""

import shlex

import click
import pytest
from command_line import done, written

from backprop_xp import cli
from backprop_xp.cli.help import GROUPS, Command


def command_named(name):
    return cli.cli.get_command(click.Context(cli.cli), name)


def sections(name):
    """Return the first lines of each section of the help, by its title."""
    found, title = {}, ""
    for line in done(name, "--help", COLUMNS=80).out.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            title = line[:-1]
            found[title] = []
        elif title and line.startswith("  -") and line[28:30] == "  ":  # not the last paragraph
            found[title].append(line[:28].strip())
    return found


@pytest.mark.parametrize("name", cli._COMMANDS)
def test_help_fits_80_columns(name):
    lines = done(name, "--help", COLUMNS=80).out.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) >= 5


@pytest.mark.parametrize("name", cli._COMMANDS)
def test_every_example_is_a_valid_command_and_ends_with_what_it_does(name):
    command = command_named(name)
    assert isinstance(command, Command)
    if name != "completion":  # its help has the commands that install it
        assert 2 <= len(command.examples) <= 3
    text = done(name, "--help", COLUMNS=80).out
    for example, meaning in command.examples:
        assert example in text
        assert meaning in text
        program, used, *words = shlex.split(example)
        assert (program, used) == ("backprop-xp", name)
        with command.make_context(name, words, resilient_parsing=False):
            pass  # it would raise an error for an option or a value that does not exist


def test_the_settings_of_train_are_in_groups():
    found = sections("train")
    assert list(found)[:8] == ["Examples", *GROUPS, "Other options"]
    assert found["Network"][0] == "--hidden NUMBERS"
    assert "--learning-rate NUM" in found["Training"]
    assert "--dropout NUMBERS" in found["Regularization"]
    assert "-o, --out DIR" in found["Output"]
    assert found["Device"][0] == "--device NAME"
    assert found["Other options"][-1] == "-h, --help"


@pytest.mark.parametrize("name", ["train", "find-lr"])
def test_every_setting_has_a_group(name):
    ungrouped = [p.name for p in command_named(name).params if getattr(p, "group", "-") == ""]
    assert set(ungrouped) <= {"config", "print_config", "debug"}


def test_defaults_are_shown_as_one_would_write_them(tmp_path):
    text = " ".join(done("train", "--help").out.split())
    assert "such as 30,20. [default: 128]" in text
    assert "Add a bias to each neuron. [default: yes]" in text
    assert "Apply the penalties to biases, too. [default: no]" in text
    assert "[default: 0.15]" in text
    assert "0.0]" not in text
    assert "--[no-]bias " in text
    file = written(tmp_path / "c.toml", "hidden = [30, 20]\nbias = false\nl1 = 0.00001")
    text = " ".join(done("train", "--config", file, "--help").out.split())
    assert "[default: 30,20]" in text
    assert "Add a bias to each neuron. [default: no]" in text
    assert "[default: 1e-05]" in text


def test_short_forms_are_the_customary_ones(tmp_path):
    assert done("-V").out == done("--version").out
    assert done("train", "-h").out == done("train", "--help").out
    result = done("train", "--epochs", 0, "-q", "-o", tmp_path / "run")
    assert result.err == ""
    assert (tmp_path / "run" / "model.safetensors").exists()
    for name in ("train", "predict", "report", "export", "plot"):
        assert "-o, --out" in done(name, "--help").out


def test_headings_are_bold_on_a_terminal_only(monkeypatch):
    from backprop_xp.cli.help import HelpContext

    context = HelpContext(command_named("train"), info_name="train")
    assert "\x1b" not in command_named("train").get_help(context)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = command_named("train").get_help(context)
    assert "\x1b[1mNetwork:\x1b[0m" in shown
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in command_named("train").get_help(context)
