"""Text that is safe to show, and messages of a bounded length."""

import json
import unicodedata

from backprop_xp.errors import unknown_name
from backprop_xp.formatting import listed, printable, printable_json, shorten

EVERY = [*map(chr, range(0x3000)), "\ud800", "\udcff", "\udfff", "\ufeff", "猫", "🦉"]


def test_what_a_terminal_obeys_is_escaped_and_all_else_stays():
    for char in EVERY:
        kind, order = unicodedata.category(char), unicodedata.bidirectional(char)
        obeyed = kind in ("Cc", "Cs", "Zl", "Zp") or order in (
            *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
        )
        shown = printable(char)
        assert (shown != char) == obeyed, hex(ord(char))
        assert shown.isascii() or not obeyed
        assert printable(shown) == shown
        assert printable(char, keep=char) == char
        shown.encode()


def test_json_is_exact_and_holds_nothing_that_a_terminal_obeys():
    text = json.dumps(EVERY, ensure_ascii=False)
    shown = printable_json(text)
    assert printable(shown) == shown
    shown.encode()
    assert json.loads(shown) == EVERY


def test_long_text_loses_its_middle():
    assert shorten("x" * 30, 30) == "x" * 30
    shown = shorten("a" * 1000 + "z" * 1000, 90)
    assert shown.startswith("a" * 60 + " [1,910 characters left out] ")
    assert shown.endswith(" " + "z" * 30)


def test_lists_of_names_are_bounded_and_printable():
    shown = listed(["\x1b[31m", "x" * 10_000, *map(str, range(100_000))], 3)
    assert len(shown) < 200
    assert shown.startswith(r"\x1b[31m, xxx")
    assert shown.endswith("xxx, 0 and 99,999 more")


def test_an_unknown_name_lists_few_names_or_the_nearest_ones():
    many = [f"setting {k}" for k in range(20_000)]
    hint = unknown_name("setting", "setting 10x", many).hint
    assert hint.startswith("did you mean 'setting 10', ")
    assert hint.endswith("setting 19 and 19,980 more")
    hint = unknown_name("setting", "setting 10x", many, "--help lists them").hint
    assert hint.startswith("did you mean 'setting 10', ")
    assert hint.endswith("? --help lists them")
    assert unknown_name("setting", "y", many, "--help lists them").hint == "--help lists them"
    error = unknown_name("setting", "x" * 100_000, many)
    assert len(error.message + error.hint) < 1000
