"""The report in a real browser: silent, asking for nothing, and sound for all who read it."""

from pathlib import Path

import pytest
from command_line import animals, done, image_folder, plane, run, written

WIDTHS = ((1280, "light"), (390, "dark"))
QUICK = ("--seed", 0, "--device", "cpu", "--epochs", 3)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages of runs of every kind, by name."""
    home = tmp_path_factory.mktemp("runs")
    names = {"ant": "<script>alert(1)</script>", "bee": "$x_1$", "cat": "a\" onload='alert(1)' b"}
    lines = animals()
    for name, hostile in names.items():
        lines = [line.replace(name, '"' + hostile.replace('"', '""') + '"') for line in lines]
    table = written(home / "animals.csv", "\n".join(lines))
    slope = written(home / "plane.csv", "\n".join(plane()))
    done("train", table, "--label", "kind", *QUICK, "--doctor", "--out", home / "classes")
    done("train", table, "--label", "kind", *QUICK, "--activation", "tanh", "--out", home / "other")
    done(
        *("train", slope, "--label", "t", "--task", "regression", *QUICK),
        *("--out", home / "numbers"),
    )
    done("train", image_folder(home / "data"), *QUICK, "--hidden", 6, "--out", home / "images")
    rate = ("--optimizer", "sgd", "--learning-rate", 1e30)
    assert run("train", *QUICK, *rate, "--doctor", "--out", home / "diverged").code == 5
    found = {}
    for name in ("classes", "numbers", "images", "diverged"):
        beside = ("--compare", home / "other") if name == "classes" else ()
        told = done("report", home / name, *beside, "--json").json
        found[name] = Path(told["report"]).read_text("utf-8")
    return found


@pytest.mark.parametrize(("width", "scheme"), WIDTHS)
@pytest.mark.parametrize("name", ["classes", "numbers", "images", "diverged"])
def test_a_report_is_silent_asks_for_nothing_and_has_no_serious_fault(
    browser, pages, name, width, scheme
):
    address = browser.open(pages[name], width=width, scheme=scheme)
    browser.run("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.complaints() == []
    asked = [url for url in browser.requests() if not url.startswith("data:")]
    assert asked == [address]
    assert browser.audit() == []


def test_the_pictures_are_shown_and_the_drawings_take_the_colours_of_the_page(browser, pages):
    seen = {}
    for scheme in ("light", "dark"):
        browser.open(pages["images"], scheme=scheme)
        sizes = browser.run("return [...document.images].map(one => one.naturalWidth)")
        assert sizes
        assert set(sizes) == {3}
        seen[scheme] = browser.run(
            "const of = (what, name) => getComputedStyle(document.querySelector(what))[name];"
            "return [of('.chart text', 'fill'), of('.chart path[style*=series]', 'stroke'),"
            " of('body', 'backgroundColor')]"
        )
    assert all(a != b for a, b in zip(seen["light"], seen["dark"], strict=True))
