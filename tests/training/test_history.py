"""A history in a notebook: complete or cut with a word about it, marked, and harmless."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from backprop_xp import Network, TrainState, fit
from backprop_xp.training.history import History, as_html


def epochs(n, **changed):
    """Return a history whose validation loss is lowest in the middle."""
    return [
        {
            **{"epoch": k, "step": 10 * k, "learning_rate": 0.1, "loss": 1.0 / k},
            **{"validation_loss": 1.0 + abs(k - n // 2), "layers": [{"delta": 1.0}], **changed},
        }
        for k in range(1, n + 1)
    ]


def parsed(page):
    """Return the page as a tree: it is well-formed, every tag closed and every text escaped."""
    return ElementTree.fromstring(page)


def rows(page):
    """Return the text of the cells of each row, the titles first."""
    return [["".join(cell.itertext()) for cell in row] for row in parsed(page).iter("tr")]


def test_a_training_shows_its_epochs_and_both_losses():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    state = fit(Network((3, 2), "softmax"), data, data, epochs=3, batch_size=8, seed=4)
    page = state._repr_html_()
    titles, *shown = rows(page)
    during = {"loss during the epoch", "accuracy during the epoch"}
    assert during | {"epoch", "validation loss", "validation accuracy", "seconds"} == set(
        titles
    ) - {"learning rate"}
    column = titles.index("validation loss")
    assert [row[column] for row in shown] == [f"{r['validation_loss']:.4g}" for r in state.history]
    assert "3 epochs, 15 steps, seed 4" in page
    names = {text.text for text in parsed(page).iter("text")}
    assert names >= {"training loss during the epoch", "validation loss"}


def test_a_history_shows_what_its_state_shows():
    history = History({"epoch": epoch, "loss": 1.0 / epoch} for epoch in range(1, 4))
    state = TrainState([], [], epoch=3, step=3, seed=4, history=history)
    page = history._repr_html_()
    assert rows(page) == rows(state._repr_html_())
    assert "3 epochs" in page


def test_figures_of_the_complete_training_set_say_so():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    settings = {"epochs": 3, "batch_size": 8, "seed": 4}
    state = fit(Network((3, 2), "softmax"), data, evaluate_training=True, **settings)
    page = state._repr_html_()
    titles, *shown = rows(page)
    for title, key, form in (
        ("loss, complete training set", "train_loss", ".4g"),
        ("accuracy, complete training set", "train_accuracy", ".2%"),
        ("loss during the epoch", "loss", ".4g"),
        ("accuracy during the epoch", "accuracy", ".2%"),
    ):
        column = titles.index(title)
        assert [row[column] for row in shown] == [f"{r[key]:{form}}" for r in state.history]
    names = {text.text for text in parsed(page).iter("text")}
    assert "training loss" in names
    assert "training loss during the epoch" not in names


def test_up_to_twenty_epochs_are_shown_whole():
    assert [row[0].removeprefix("best: ") for row in rows(as_html(epochs(20), ""))[1:]] == [
        *map(str, range(1, 21))
    ]


def test_a_long_history_is_cut_around_its_best_epoch_and_says_what_was_left_out():
    first = [row[0] for row in rows(as_html(epochs(1000), ""))[1:]]
    assert first == [
        *map(str, range(1, 11)),
        *("489 epochs left out", "best: 500", "490 epochs left out"),
        *map(str, range(991, 1001)),
    ]
    assert "1 epoch left out" in as_html(epochs(21), "", best=1)


def test_the_best_epoch_is_the_one_that_early_stopping_kept_else_the_lowest_validation_loss():
    def marked(page):
        return [row[0] for row in rows(page) if row[0].startswith("best")]

    assert marked(as_html(epochs(8), "")) == ["best: 4"]
    assert marked(as_html(epochs(8), "", best=7)) == ["best: 7"]
    bare = [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}]
    assert marked(as_html(bare, "")) == []


def test_the_circle_of_the_best_epoch_lies_on_the_curve():
    tree = parsed(as_html(epochs(9), ""))
    (circle,) = tree.iter("circle")
    dashed = next(p for p in tree.iter("path") if p.get("stroke-dasharray"))
    points = re.findall(r"([\d.]+) ([\d.]+)h0", dashed.get("d"))
    assert points[3] == (circle.get("cx"), circle.get("cy"))
    assert max(points, key=lambda point: float(point[1])) == points[3]  # the lowest on the screen


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_a_loss_that_is_no_number_leaves_a_gap(bad):
    history = epochs(5)
    history[2]["loss"] = bad
    page = as_html(history, "")
    solid = next(p.get("d") for p in parsed(page).iter("path") if "h0" in p.get("d"))
    assert solid.count("M") == 2
    assert solid.count("h0") == 4
    assert not re.search(r"nan|inf", solid)


def test_nothing_finite_and_a_single_epoch_are_not_drawn():
    assert "<svg" not in as_html(epochs(1), "")
    assert "<svg" not in as_html([{"epoch": k, "loss": float("nan")} for k in (1, 2)], "")


def test_a_state_before_its_first_epoch_shows_its_title_alone():
    page = TrainState([], [], epoch=0, step=0, seed=3)._repr_html_()
    assert "".join(parsed(page).itertext()) == "0 epochs, 0 steps, seed 3"


def test_text_of_any_kind_is_shown_and_not_obeyed():
    evil = '<script>alert("1")</script>&'
    state = TrainState([], [], 1, 1, 0, ({"epoch": 1, "loss": 1.0, evil: evil},), stopped=evil)
    page = state._repr_html_()
    assert "<script" not in page
    assert "".join(parsed(page).itertext()).count(evil) == 3


def test_a_very_long_history_stays_small_and_keeps_its_last_epoch():
    page = as_html(epochs(20_000), "")
    assert len(page) < 50_000
    assert "epoch 1<" in page
    assert "20,000<" in page
    curve = next(p.get("d") for p in parsed(page).iter("path") if "h0" in p.get("d"))
    assert float(re.findall(r"L([\d.]+) ", curve)[-1]) == 472.0


def test_it_takes_the_colours_of_the_theme():
    page = as_html(epochs(5), "")
    assert "currentColor" in page
    assert "background" not in page


def test_a_state_is_shown_in_one_line():
    settings = {"epochs": 3, "batch_size": 10, "patience": 1, "monitor": "accuracy", "seed": 0}
    x, labels = np.random.default_rng(0).normal(size=(30, 4)), np.arange(30) % 3
    network = Network((4, 50, 3), ("tanh", "softmax"))
    state = fit(network, (x, labels), (x, labels), **settings)
    record = state.history[-1]
    assert repr(state).startswith(f"TrainState({state.epoch} epochs, {state.step} steps, seed 0")
    assert f"validation_accuracy {record['validation_accuracy']:.4g})" in repr(state)
    assert repr(TrainState([], [], epoch=0, step=0, seed=3)) == (
        "TrainState(0 epochs, 0 steps, seed 3)"
    )
    assert max(len(repr(state)), len(repr(state.best))) < 200
