"""Accessibility of the trace page: names, languages, themes, window sizes, and an audit."""

import re

import pytest
from pages import example, hostile_trace, image_trace, trace_of, watched


@pytest.fixture
def opened(browser):
    with watched(browser) as open_page:
        yield open_page


def test_names_that_are_code_are_shown_and_do_nothing(browser, opened):
    data = opened(hostile_trace())
    assert browser.text("h1") == data["title"]
    for layer, place in ((0, 1), (1, 0), (2, 0), (2, 3)):
        browser.click_on(f'[data-unit="{layer} {place}"] .ring')
    for _ in range(10):
        browser.press("ARROW_RIGHT")
    browser.find("[data-language=zh]").click()
    assert data["network"]["classes"][3] in browser.text("#details-title")
    assert browser.run("return window.hit === undefined && !document.querySelector('img')")


@pytest.mark.parametrize(
    ("language", "lang"), [("zh-CN,zh", "zh"), ("en-GB,en", "en"), ("fr", "en")]
)
def test_the_page_first_speaks_the_language_of_its_reader(browser, opened, language, lang):
    opened(example("xor"), language=language)
    assert browser.run("return document.documentElement.lang") == lang
    browser.find("[data-language=en]").click()
    assert browser.run("return document.documentElement.lang") == "en"
    browser.find("[data-language=zh]").click()
    assert browser.run("return document.documentElement.lang") == "zh"
    said = browser.text("header") + browser.text("#step")
    assert re.search(r"[\u4e00-\u9fff]", said)
    assert not re.search(r"\b(the|of|weights)\b", browser.text("#step"))


@pytest.mark.parametrize("name", ["note-000", "image"])
def test_a_narrow_window_needs_no_scrolling_sideways(browser, opened, name):
    opened(image_trace() if name == "image" else example(name), width=360, height=740)
    browser.click_on('[data-unit="1 1"] .ring')
    assert browser.run("return document.documentElement.scrollWidth") <= 360
    assert browser.run("return document.getElementById('drawing').scrollWidth") <= 360


def test_long_names_of_classes_fit_into_a_narrow_window(browser, opened):
    names = tuple(letter * 200 for letter in "abc")
    opened(trace_of((2, 2, 3), samples=2, classes=names), width=360, height=740)
    browser.click_on('[data-unit="1 1"] .ring')
    assert browser.run("return document.documentElement.scrollWidth") <= 360


def test_nothing_moves_for_those_who_want_no_motion(browser, opened):
    opened(example("xor"), still=True)
    style = "return getComputedStyle(document.querySelector('.lines line')).transitionDuration"
    assert browser.run(style) == "0s"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_audit_of_accessibility_finds_no_serious_fault(browser, opened, scheme, language):
    opened(image_trace(samples=2), scheme=scheme, language=language)
    assert browser.run("return document.documentElement.dataset.theme") == scheme
    for block in browser.find_all(".tables summary"):
        block.click()
    click = "document.querySelector(arguments[0]).dispatchEvent(new KeyboardEvent('keydown', "
    browser.run(click + "{key: 'Enter', bubbles: true}))", '[data-unit="1 2"]')
    browser.press("ARROW_RIGHT", "ARROW_RIGHT", "ARROW_RIGHT", "ARROW_RIGHT", "ARROW_RIGHT")
    assert browser.audit() == []
    browser.find("#details .link").click()
    assert browser.audit() == []


def test_the_theme_can_be_changed_and_stands_the_audit(browser, opened):
    opened(example("xor"), scheme="light")
    browser.find("#theme").click()
    assert browser.run("return document.documentElement.dataset.theme") == "dark"
    assert (
        browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(20, 22, 26)"
    )
    assert browser.audit() == []
