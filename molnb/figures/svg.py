"""SVG drawings as RDKit writes them, in less than half of the characters."""

from __future__ import annotations

import re

# What RDKit writes and no browser needs: classes of atoms and bonds, versions, comments.
_UNUSED = re.compile(r" (class|version|baseProfile|xml:space|xmlns:\w+)='[^']*'|<!--.*?-->")
# Styles that are drawn alike without being said.
_DEFAULT_STYLE = re.compile(
    r"(fill-rule:evenodd|stroke-linecap:butt|stroke-linejoin:miter|stroke-miterlimit:10"
    r"|(stroke|fill)-opacity:1(?![.\d]));?"
)
_NEIGHBOURING_PATHS = re.compile(r"(<path d='[^']*' style='[^']*' ?/>)+")
_PATH = re.compile(r"d='([^']*)' style='([^']*)'")


def slim_svg(svg: str) -> str:
    """The same picture in fewer characters, from the SVG text that RDKit writes.

    Neighbouring lines of one style become one path; an XML declaration before `<svg` is left out,
    so that the result can stand in a web page.
    """
    svg = svg[svg.index("<svg") :]
    svg = _UNUSED.sub("", re.sub(r"\s+", " ", svg))
    svg = svg.replace("> <", "><").strip()
    svg = _DEFAULT_STYLE.sub("", svg)
    svg = re.sub(r"\.0(?=[ ,'p])", "", svg)  # 12.0 as 12, before a space, a comma, a quote or px
    return _NEIGHBOURING_PATHS.sub(_joined, svg)


def _joined(paths: re.Match[str]) -> str:
    """Paths that follow one another, as one path for each style."""
    lines_of_style: dict[str, list[str]] = {}
    for line, style in _PATH.findall(paths[0]):
        lines_of_style.setdefault(style, []).append(line.strip())
    return "".join(
        f"<path d='{' '.join(lines)}' style='{style}'/>" for style, lines in lines_of_style.items()
    )
