"""Texts for a terminal: sizes, columns, and lines that no word is lost from."""

from __future__ import annotations

import pytest

from molnb.texts import WIDTH, aligned, described, readable_bytes, readable_share, shortened


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (81_600_000, "82 MB"), (2e9, "2.0 GB"),
     (999_600, "1.0 MB"), (3.4e15, "3400 TB")],
)  # fmt: skip
def test_sizes_are_readable(n: float, text: str) -> None:
    assert readable_bytes(int(n)) == text


def test_a_share_of_nothing_is_empty() -> None:
    assert (readable_share(1, 8), readable_share(0, 0)) == ("12.5 %", "")


def test_a_long_last_column_goes_on_below_itself_and_loses_no_word() -> None:
    words = [f"word{number}" for number in range(40)]
    lines = aligned([("a", "1", " ".join(words)), ("bc", "20", "short")], right=[1], indent="  ")
    assert lines[0].startswith("  a    1  word0") and lines[-1] == "  bc  20  short"
    assert max(map(len, lines)) <= WIDTH
    assert " ".join(lines[:-1]).split()[2:] == words
    assert all(line.startswith(" " * 10 + "word") for line in lines[1:-1])


def test_a_column_without_a_text_takes_no_room_and_a_cut_line_says_so() -> None:
    assert aligned([("a", "", "x"), ("b", "", "")]) == ["a  x", "b"]
    (line,) = aligned([("a", "y" * 200)], cut=True)
    assert len(line) == WIDTH and line.endswith("...")
    assert shortened("abc", 3) == "abc"


def test_terms_without_a_text_are_left_out() -> None:
    assert described([("rows", "5"), ("size", None), ("", "more")], width=4) == [
        "  rows  5",
        "        more",
    ]
