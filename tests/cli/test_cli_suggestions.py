"""Misspelled commands and options, and those of other programs: the error names the nearest one."""

import click
import pytest
from command_line import animals, refused, run, written

from backprop_xp import cli
from backprop_xp.cli import suggestions


def hint_of(*args):
    message, hint = refused(2, "usage", *args)
    return message, hint


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--lr", "--learning-rate"),
        ("-lr", "--learning-rate"),
        ("--lerning-rate", "--learning-rate"),
        ("--learning_rate", "--learning-rate"),
        ("--batch", "--batch-size"),
        ("--epoch", "--epochs"),
        ("--EPOCHS", "--epochs"),
        ("--layers", "--hidden"),
        ("--target", "--label"),
        ("--gpu", "--device cuda"),
        ("--alpha", "--l2"),
        ("--smoothing", "--label-smoothing"),
        ("--no-baias", "--no-bias"),
        ("--solver", "--optimizer"),
        ("--early-stopping", "--patience"),
        ("--outputs", "--output"),
    ],
)
def test_an_unknown_option_of_train_names_the_one_that_was_meant(option, meant):
    message, hint = hint_of("train", option)
    assert message == f"there is no option '{option}'"
    assert hint == f"did you mean '{meant}'? 'backprop-xp train --help' shows the options"


@pytest.mark.parametrize(
    ("command", "option", "meant"),
    [
        ("predict", "--output", "--out"),
        ("predict", "--proba", "--probabilities"),
        ("evaluate", "--target", "--label"),
        ("trace", "--lr", "--learning-rate"),
        ("export", "--output", "--out"),
        ("find-lr", "--batch", "--batch-size"),
    ],
)
def test_only_options_of_the_command_are_suggested(command, option, meant):
    assert hint_of(command, option)[1].startswith(f"did you mean '{meant}'? ")


def test_nothing_is_suggested_for_an_option_that_is_like_no_other():
    for option in ("--zzz", "-x", "--qwertyuiop"):
        assert hint_of("train", option)[1] == "'backprop-xp train --help' shows the options"
    assert "--learning-rate" not in hint_of("summary", "--lr")[1]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("trian", "train"),
        ("fit", "train"),
        ("eval", "evaluate"),
        ("find_lr", "find-lr"),
        ("Train", "train"),
        ("help", "--help"),
        ("docs", "guide"),
        ("digits", "backprop-xp train digits"),
        ("my table.csv", "backprop-xp train 'my table.csv'"),
    ],
)
def test_an_unknown_command_names_the_one_that_was_meant(word, meant):
    message, hint = hint_of(word)
    assert message == f"there is no command {word!r}"
    assert hint == f"did you mean '{meant}'? 'backprop-xp --help' lists the commands"


def test_every_suggestion_exists():
    group = click.Context(cli.cli)
    commands = {name: cli.cli.get_command(group, name) for name in cli._COMMANDS}
    options = {o for command in commands.values() for p in command.params for o in p.opts}
    assert {meant.split(" ")[0] for meant in suggestions._OPTIONS.values()} <= options
    known = {*commands, "--help", "--version"}
    assert set(suggestions._COMMANDS.values()) <= known
    assert not set(suggestions._COMMANDS) & set(commands)


@pytest.mark.parametrize(
    "words", [("evaluate",), ("predict", "runs/a"), ("summary",), ("export", "runs/a")]
)
def test_a_missing_argument_is_answered_with_an_example(words):
    message, hint = hint_of(*words)
    assert message.startswith("Missing ")
    assert hint.startswith(f"for example: backprop-xp {words[0]} runs/")


def test_a_folder_as_the_output_activation_is_answered_with_the_option_for_folders():
    message, _ = hint_of("train", "--output", "runs/a")
    assert message.endswith("'runs/a' is not an activation; the folder of a run is --out runs/a")
    assert (
        run("train", "--output", "sofmax")
        .err.splitlines()[1]
        .startswith("hint: did you mean 'softmax'?")
    )


def test_activations_and_layers_that_do_not_fit_are_counted_as_they_were_given():
    message, hint = refused(
        2, "configuration", "train", "--hidden", "30,20", "--activation", "relu,tanh,relu"
    )
    assert message == "3 activations were given for 2 hidden layers"
    assert "output is the activation of the output layer" in hint


def test_a_missing_file_of_a_trace_is_answered_with_one_to_start_from(tmp_path):
    path = tmp_path / "mine.toml"
    message, hint = refused(2, "configuration", "trace", path)
    assert message == f"there is no file {path}"
    template = hint.split("a copy of ")[1].split(",")[0]
    with open(template, encoding="utf-8") as file:
        written(path, file.read())
    assert run("trace", path).code == 0


def test_a_missing_file_names_the_one_beside_it_with_a_similar_name(tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals()))
    message, hint = refused(3, "data", "train", tmp_path / "aminals.csv", "--label", "kind")
    assert message.endswith("aminals.csv: there is no such file")
    assert hint == f"did you mean '{table}'? Otherwise check the path and its spelling"
    for path in (tmp_path / "plants.csv", tmp_path / "nowhere" / "animals.csv"):
        hint = refused(3, "data", "train", path, "--label", "kind")[1]
        assert hint == "check the path and its spelling"


@pytest.mark.parametrize(
    ("options", "near"),
    [
        (("--label", "knid"), "kind"),
        (("--label", "kind", "--drop", "heigth"), "height"),
        (("--label", "kind", "--numeric", "widht"), "width"),
        (("--label", "kind", "--categorical", "widht"), "width"),
    ],
)
def test_a_misspelled_column_names_the_nearest_one(options, near, tmp_path):
    table = written(tmp_path / "animals.csv", "\n".join(animals()))
    message, hint = refused(3, "data", "train", table, *options)
    assert "the columns are: height, width, kind" in message
    assert f"a similar one is '{near}'" in hint
