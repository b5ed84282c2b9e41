"""Plots show what the package computes, in files that are the same every time."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import matplotlib
import matplotlib.image
import numpy as np
import pytest
from command_line import done, refused, refused_alike

from backprop_xp.errors import ConfigurationError
from backprop_xp.nn.activations import ACTIVATIONS
from backprop_xp.nn.losses import LOSSES
from backprop_xp.nn.schedules import SCHEDULES, warm_up
from backprop_xp.report.function_plots import KINDS, plot, save

BLUE, VERMILION = "#0072b2", "#d55e00"
FUNCTIONS = [*(("activations", name) for name in ACTIVATIONS), *(("losses", n) for n in LOSSES)]


def panel(kind, name):
    (axes,) = plot(kind, [name]).axes
    return axes


def curve(axes, color):
    """Return the numbers of the first line of that colour, without the gaps at jumps."""
    line = next(
        line for line in axes.lines if line.get_color() == color and len(line.get_xdata()) > 2
    )
    x, y = map(np.asarray, line.get_data())
    return x[~np.isnan(y)], y[~np.isnan(y)]


@pytest.mark.parametrize(("kind", "name"), FUNCTIONS)
def test_the_dashed_curve_is_the_slope_of_the_solid_one(kind, name):
    axes = panel(kind, name)
    (x, y), (at, slope) = curve(axes, BLUE), curve(axes, VERMILION)
    assert np.array_equal(x, at)
    inside = np.abs(slope) < 3.0
    inside[1:-1] &= np.abs(slope[2:] - slope[:-2]) < 0.1  # a difference across a jump is neither
    inside[[0, -1]] = False
    inside &= np.abs(np.gradient(y, x)) < 10.0  # the jump of the step function
    assert inside.sum() > 250
    assert np.gradient(y, x)[inside] == pytest.approx(slope[inside], abs=0.01)


@pytest.mark.parametrize("name", [f.name for f in ACTIVATIONS.values() if f.derivative is not None])
def test_an_activation_is_drawn_from_its_own_function_and_slope(name):
    axes, activation = panel("activations", name), ACTIVATIONS[name]
    z, a = curve(axes, BLUE)
    assert np.array_equal(a, activation.forward(z, np))
    assert np.array_equal(curve(axes, VERMILION)[1], activation.derivative(z, a, np))


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_drawn_from_its_own_terms_for_the_target_that_is_marked(name):
    axes = panel("losses", name)
    (target,) = [line for line in axes.lines if str(line.get_label()).startswith("target y = ")]
    y = float(target.get_label().removeprefix("target y = "))
    assert list(target.get_xdata()) == [y, y]
    a, drawn = curve(axes, BLUE)
    terms, da = LOSSES[name].value_and_gradient(a[:, None], np.full((len(a), 1), y), np)
    assert np.array_equal(drawn, terms[:, 0])
    assert np.array_equal(curve(axes, VERMILION)[1], da[:, 0])


@pytest.mark.parametrize(
    ("kind", "name", "taken", "approached"),
    [
        ("activations", "step", [0.0], {1.0}),
        ("activations", "relu", [0.0], {1.0}),
        ("activations", "leaky_relu", [0.01], {1.0}),
        ("losses", "mean_absolute_error", [0.0], {-1.0, 1.0}),
        *((kind, name, [], set()) for kind, name in FUNCTIONS if name in ("tanh", "cross_entropy")),
    ],
)
def test_at_a_jump_a_dot_is_what_is_taken_and_a_circle_what_is_not(kind, name, taken, approached):
    dots = [line for line in panel(kind, name).lines if line.get_marker() == "o"]
    filled = [d for d in dots if d.get_markerfacecolor() != "white"]
    assert [float(np.ravel(d.get_ydata())[0]) for d in filled] == taken
    assert all(np.all(np.asarray(d.get_xdata()) == 0.0) for d in dots)
    circles = {float(y) for d in dots if d not in filled for y in np.ravel(d.get_ydata())}
    assert circles - set(taken) == approached


def test_softmax_shows_all_outputs_as_one_logit_moves_and_says_that_a_diagonal_is_drawn():
    axes = panel("activations", "softmax")
    blue = [line for line in axes.lines if line.get_color() == BLUE]
    assert sum(line.get_ydata() for line in blue) == pytest.approx(np.ones(600), abs=1e-12)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels[3] == "∂a₁/∂z₁, only the diagonal of aᵢ (δᵢⱼ − aⱼ)"


def test_the_label_of_the_step_function_says_that_no_error_passes():
    labels = [text.get_text() for text in panel("activations", "step").get_legend().get_texts()]
    assert labels == ["a = 1 if z > 0 else 0", "a′ = 0 (everywhere except at the jump)"]


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_drawn_plain_and_after_a_warm_up_if_it_starts_high(name):
    plain, *warmed = panel("schedules", name).lines
    progress, factors = plain.get_data()
    assert list(factors) == [SCHEDULES[name](share) for share in progress]
    assert bool(warmed) is (name != "one_cycle")
    for line in warmed:
        rise = [warm_up(step, 60) for step in range(1, 601)]
        assert list(line.get_ydata()) == [f * r for f, r in zip(factors, rise, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", [1, 2, None])
def test_no_text_leaves_the_picture_or_covers_another_panel(kind, number):
    figure = plot(kind, list(KINDS[kind].records)[-(number or 0) :])
    figure.draw_without_rendering()
    (title,) = [text.get_window_extent() for text in figure.texts]
    assert figure.bbox.x0 <= title.x0 < title.x1 <= figure.bbox.x1
    for axes in figure.axes:
        box = axes.get_legend().get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1
        for other in set(figure.axes) - {axes}:
            assert not box.overlaps(other.get_window_extent())
            assert not box.overlaps(other.get_legend().get_window_extent())


@pytest.mark.parametrize("kind", KINDS)
def test_all_names_are_drawn_by_default(kind):
    titles = [axes.get_legend().get_title().get_text() for axes in plot(kind).axes]
    assert titles == list(KINDS[kind].records)


def test_the_names_given_are_drawn_once_each_and_in_their_order():
    figure = plot("activations", ["tanh", "relu", "tanh"])
    titles = [axes.get_legend().get_title().get_text() for axes in figure.axes]
    assert titles == ["tanh", "relu"]


def test_the_same_plot_is_the_same_file_whatever_the_settings_of_matplotlib(tmp_path):
    for suffix in ("png", "svg"):
        save(plot("losses", ["huber"]), tmp_path / f"a.{suffix}")
        with matplotlib.rc_context({"axes.facecolor": "black", "svg.fonttype": "none"}):
            save(plot("losses", ["huber"]), tmp_path / f"b.{suffix}")
        first, second = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
        assert first == second


def test_the_command_draws_a_picture_with_both_curves_in_it(tmp_path):
    file = tmp_path / "out.PNG"
    told = done("plot", "activations", "sigmoid", "tanh", "--out", file, "--json").json
    assert told == {
        **{"schema_version": 1, "command": "plot", "kind": "activations"},
        **{"names": ["sigmoid", "tanh"], "path": str(file), "format": "png"},
    }
    with file.open("rb") as opened:
        pixels = matplotlib.image.imread(opened, format="png")[..., :3]
    for color in (BLUE, VERMILION):
        wanted = np.asarray([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])
        assert (np.abs(pixels - wanted).max(axis=-1) < 0.01).sum() > 500
    assert (pixels == 1.0).all(axis=-1).mean() > 0.8


def test_an_svg_is_xml_without_an_address_but_identifiers(tmp_path):
    file = tmp_path / "schedules.svg"
    assert done("plot", "schedules", "--out", file).out == f"schedules drawn in {file}\n"
    assert ElementTree.parse(file).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    addresses = [part.split("/")[0] for part in file.read_text("utf-8").split("://")[1:]]
    assert set(addresses) == {"www.w3.org"}


def test_the_file_is_named_after_the_kind_if_no_name_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert done("plot", "losses", "huber").out == "losses drawn in losses.png\n"
    assert [file.name for file in tmp_path.iterdir()] == ["losses.png"]


@pytest.mark.parametrize(
    ("kind", "names", "said"),
    [
        ("losses", ["hubber"], "unknown loss 'hubber' | did you mean 'huber'?"),
        ("activations", ["relu", "rleu"], "unknown activation 'rleu' | did you mean 'relu'?"),
        ("schedules", ["cosin"], "unknown schedule 'cosin' | did you mean 'cosine'?"),
        ("activation", [], "unknown kind of plot 'activation' | did you mean 'activations'?"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(kind, names, said, tmp_path):
    args = ("plot", kind, *names, "--out", tmp_path / "x.png")
    assert refused_alike(ConfigurationError, lambda: plot(kind, names), *args).startswith(said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x.pdf", "a plot cannot be written as"),
        ("png", "a plot cannot be written as"),
        ("missing/x.svg", "cannot be written: No such file or directory"),
        ("folder.png", "cannot be written: it is a folder or a device, not a file"),
    ],
)
def test_a_file_that_cannot_be_is_refused_and_nothing_is_left(name, said, tmp_path):
    (tmp_path / "folder.png").mkdir()
    figure, path = plot("losses", ["huber"]), tmp_path / name
    args = ("plot", "losses", "huber", "--out", path)
    assert said in refused_alike(ConfigurationError, lambda: save(figure, path), *args)
    assert [file.name for file in tmp_path.iterdir()] == ["folder.png"]


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    message, hint = refused(2, "configuration", "plot", "losses")
    assert message == "matplotlib, which draws the plots, is not installed"
    assert hint == "pip install 'backprop-xp[report]'"


def test_no_display_is_asked_for(tmp_path):
    code = (
        "import sys\nfrom backprop_xp.cli import _run\n"
        f"assert _run(['plot', 'losses', 'huber', '--out', {str(tmp_path / 'x.png')!r}]) == 0\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1] == "False"
