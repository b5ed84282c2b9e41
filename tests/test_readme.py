"""The README: its code runs, and it is short. Its links are tested with those of the guide."""

import re

from chapters import files_of_the_examples, run_code, skip_without_libraries, texts

README = texts()["README.md"]


def test_the_code_of_the_readme_runs_and_reads_nine_digits_of_ten(tmp_path, monkeypatch):
    skip_without_libraries(README)
    monkeypatch.chdir(tmp_path)
    files_of_the_examples(tmp_path)
    printed = run_code(README)
    percent = re.search(r"([\d.]+)% are right", printed)
    assert float(percent[1]) > 90.0


def test_the_readme_is_short():
    assert len(README.split()) <= 1300
    assert len(README.splitlines()) <= 130


def test_the_readme_links_to_every_chapter():
    chapters = [name for name in texts() if name.startswith("backprop_xp/guide/")]
    assert [name for name in chapters if f"({name})" not in README] == []
