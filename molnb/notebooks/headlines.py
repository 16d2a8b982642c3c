"""The one result of a lesson, and how it is shown."""

from __future__ import annotations

import html

HEADLINE = "application/vnd.molnb.headline+json"


def headline(text: str, n: int | None = None, of: int | None = None) -> None:
    """Show the one result of a lesson, which `molnb tour` also prints and puts on the index page.

    `n` of `of` says what the result rests on, in the lesson's own count (molecules, as a rule).
    """
    from IPython.display import display

    share = sample_words(n, of)
    words = f"{text} ({share})" if share else text
    page = f'<p style="font-size:1.2em;margin:.4em 0"><b>{html.escape(text)}</b>'
    page += f' <span style="opacity:.7">({share})</span></p>' if share else "</p>"
    display(
        {"text/plain": words, "text/html": page, HEADLINE: {"text": text, "n": n, "of": of}},
        raw=True,
    )


def sample_words(n: int | None, of: int | None) -> str:
    """A sample in words: `1,000 of 4,999`, `4,999`, or nothing where it is not known."""
    if n is None:
        return ""
    return f"{n:,}" if of is None else f"{n:,} of {of:,}"
