"""Licences of datasets by their short names."""

from __future__ import annotations

import re

_KNOWN = (
    r"CC0(?:[ -]1\.0)?",
    r"CC[ -]BY(?:[ -](?:NC|SA|ND))*(?:[ -]\d\.\d)?",
    r"BSD-\d-Clause",
    r"Apache(?:[ -]2\.0)?",
    r"L?GPL(?:v|[ -])?\d(?:\.\d)?",
    r"ODbL(?:[ -]1\.0)?",
    r"MIT",
    r"public domain",
    r"not stated",
)
_NAMED = re.compile(rf"(?<![\w-])(?:{'|'.join(_KNOWN)})(?![\w])", re.IGNORECASE)
_FIRST_WORDS = re.compile(r"[^(;,:.]+")


def short_licence(text: str) -> str:
    """The name of a licence in what a recipe says of it; several with a plus between them."""
    names = dict.fromkeys(name.replace("CC-BY", "CC BY") for name in _NAMED.findall(text))
    if names:
        return " + ".join(names)
    first = _FIRST_WORDS.match(text.strip())
    return first[0].strip() if first else text
