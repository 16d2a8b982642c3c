"""Drawings of scaffolds and of the molecules on them, as HTML that survives saving and export
without a network.

What a slider shows in JupyterLab stands as a plain picture above it.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from typing import Any

from rdkit import Chem, rdBase
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from ..curation.scaffolds import ACYCLIC, Scaffolds, molecules_on
from ..kernel import headless
from .style import COLOURS

HIGHLIGHT = (0.66, 0.84, 1.0)


def sample_title(scaffolds: Scaffolds) -> str:
    """Which molecules a figure rests on: counted ones of all, and the rows they come from where
    these are a sample.
    """
    corpus, name = scaffolds.corpus, scaffolds.name
    words = f"{name}: {scaffolds.n_molecule:,} of {corpus.n:,} molecules"
    if corpus.n_sampled < corpus.n_source:
        words += f" ({corpus.n_sampled:,} of {corpus.n_source:,} rows)"
    return words


def draw_structure(smiles: str, width: int, height: int, core: str | None = None) -> str:
    """SVG of a structure; its SMILES as text where RDKit cannot draw it.

    A `core` is highlighted and laid out alike.
    """
    with rdBase.BlockLogs():
        mol = None if smiles == ACYCLIC else Chem.MolFromSmiles(smiles)
        if mol is None:
            return _text_svg(smiles, width, height)
        marked = _lay_out(mol, core)
        pen = rdMolDraw2D.MolDraw2DSVG(width, height)
        options = pen.drawOptions()
        options.clearBackground, options.fixedBondLength, options.padding = False, 22.0, 0.04
        options.minFontSize = 9
        options.setHighlightColour(HIGHLIGHT)
        bonds = [
            b.GetIdx()
            for b in mol.GetBonds()
            if {b.GetBeginAtomIdx(), b.GetEndAtomIdx()} <= set(marked)
        ]
        rdMolDraw2D.PrepareAndDrawMolecule(pen, mol, highlightAtoms=marked, highlightBonds=bonds)
    pen.FinishDrawing()
    return _slim(pen.GetDrawingText())


def _slim(svg: str) -> str:
    """The same picture in a fifth of the bytes: rounded to a tenth of a pixel, lines of one
    style in one path.
    """
    svg = re.sub(
        r" (class|version|baseProfile|xml:space|xmlns:\w+)='[^']*'|<!--.*?-->",
        "",
        svg.partition("?>\n")[2],
    )
    svg = re.sub(r">\s+<", "><", re.sub(r"\s+", " ", svg)).strip()
    svg = re.sub(
        r"(fill-rule:evenodd|stroke-\w+:(butt|miter|10)|(stroke|fill)-opacity:1);?", "", svg
    )
    svg = re.sub(r"(\d\.\d)\d+|\.0+(?=[ ,'p])", lambda found: found[1] or "", svg)
    return re.sub(r"(<path d='[^']*' style='[^']*' ?/>)+", _joined, svg)


def _joined(run: re.Match[str]) -> str:
    """Paths that follow one another, joined where their style is the same."""
    lines: dict[str, list[str]] = {}
    for line, style in re.findall(r"d='([^']*)' style='([^']*)'", run[0]):
        lines.setdefault(style, []).append(line.strip())
    return "".join(
        f"<path d='{' '.join(found)}' style='{style}'/>" for style, found in lines.items()
    )


def _lay_out(mol: Chem.Mol, core: str | None) -> list[int]:
    """Atoms of the molecule's scaffold, which is placed as the scaffold alone would be; none
    where there is no core.
    """
    if core is None:
        return []
    scaffold = Chem.MurckoDecompose(mol)
    marked = list(mol.GetSubstructMatch(scaffold)) if scaffold.GetNumAtoms() else []
    alone = Chem.MolFromSmiles(core)
    place = mol.GetSubstructMatch(alone) if alone is not None else ()
    if place:
        rdDepictor.Compute2DCoords(alone)
        rdDepictor.GenerateDepictionMatching2DStructure(
            mol, alone, list(zip(range(len(place)), place))
        )
    return marked


def _text_svg(text: str, width: int, height: int) -> str:
    lines = [text[start : start + 14] for start in range(0, min(len(text), 56), 14)]
    spans = "".join(f'<tspan x="50%" dy="1.2em">{html.escape(line)}</tspan>' for line in lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"><text y="{height // 3}" '
        f'text-anchor="middle" font-family="monospace" font-size="11" fill="#444">{spans}</text></svg>'
    )


def _cell(drawing: str, caption: str, width: int, bar: float | None = None, hover: str = "") -> str:
    """A drawing with a line under it and, where asked for, a bar of this length (0 to 1); more
    on hover.
    """
    line = (
        ""
        if bar is None
        else f'<div style="height:7px;width:{100 * bar:.1f}%;background:{COLOURS[0]}"></div>'
    )
    return (
        f'<figure title="{html.escape(hover)}" style="margin:0;width:{width}px;text-align:center">{drawing}{line}'
        f'<figcaption style="font-size:13px;line-height:1.25">{caption}</figcaption></figure>'
    )


def _grid(cells: Sequence[str], columns: int, width: int, title: str = "") -> str:
    head = (
        f'<div style="font-weight:bold;font-size:15px;margin:4px 0">{html.escape(title)}</div>'
        if title
        else ""
    )
    style = f"display:grid;grid-template-columns:repeat({columns},{width}px);gap:8px 6px"
    return f'<div>{head}<div style="{style}">{"".join(cells)}</div></div>'


def _sheet(blocks: Sequence[str], direction: str = "row") -> Any:
    from IPython.display import HTML

    style = f"display:flex;flex-direction:{direction};flex-wrap:wrap;gap:10px 24px;padding:8px"
    style += ";background:#fff;color:#1c2430;font-family:Arial,Helvetica,sans-serif"
    return HTML(f'<div style="{style}">{"".join(blocks)}</div>')


def draw_scaffolds(
    scaffolds: Sequence[Scaffolds], k: int = 40, columns: int = 5, width: int = 80
) -> Any:
    """The k most frequent scaffolds of corpora side by side, each drawn, with rank and share.

    The bar under a drawing is its share on a logarithmic scale, from one molecule to the most
    frequent scaffold shown.
    """
    blocks = []
    for one in scaffolds:
        top = one.table.slice(0, k).to_pylist()
        longest = math.log(top[0]["n"] + 1)
        cells = [
            _cell(
                draw_structure(row["scaffold"], width, 62),
                f"<b>{row['rank']}</b> · {100 * row['share']:.2g} %",
                width,
                math.log(row["n"] + 1) / longest,
                f"{row['n']:,} molecules, {row['scaffold']}",
            )
            for row in top
        ]
        blocks.append(_grid(cells, columns, width, f"{sample_title(one)}"))
    return _sheet(blocks)


def draw_members(scaffolds: Scaffolds, rank: int, n: int = 5, width: int = 148) -> str:
    """HTML of one scaffold, by its rank, and its first n molecules, in which it is highlighted."""
    row = scaffolds.table.slice(rank - 1, 1).to_pylist()[0]
    name = row["scaffold"]
    first = _cell(draw_structure(name, width, 110), f"<b>rank {rank}</b>", width)
    core = name if scaffolds.kind == "murcko" and name != ACYCLIC else ""
    found = molecules_on(scaffolds, name, n).to_pylist()
    cells = [
        _cell(draw_structure(one["smiles"], width, 110, core), f"row {one['row']:,}", width)
        for one in found
    ]
    title = f"{scaffolds.name}, {name}: {len(found)} of {row['n']:,} molecules"
    return _grid([first, *cells], len(cells) + 1, width, title)


def show_members(
    scaffolds: Sequence[Scaffolds], ranks: Sequence[int] = (1, 2, 3), n: int = 5, k: int = 40
) -> Any:
    """Molecules behind the scaffolds of these ranks in each corpus; in JupyterLab also a slider
    through the first k.
    """
    from IPython.display import display

    kept = [(one, rank) for one in scaffolds for rank in ranks if rank <= len(one)]
    display(_sheet([draw_members(one, rank, n) for one, rank in kept], "column"))
    if not headless():
        display(browse_members(scaffolds, n, k))


def browse_members(scaffolds: Sequence[Scaffolds], n: int = 5, k: int = 40) -> Any:
    """A choice of corpus and a slider over ranks, with the molecules they stand for."""
    import ipywidgets

    by_name = {f"{number}: {one.name}": one for number, one in enumerate(scaffolds, 1)}
    corpus = ipywidgets.ToggleButtons(options=list(by_name), description="corpus")
    rank = ipywidgets.IntSlider(
        value=1, min=1, max=min(k, len(scaffolds[0])), description="rank", continuous_update=False
    )
    page = ipywidgets.HTML()

    def show(_change: Any = None) -> None:
        one = by_name[corpus.value]
        rank.max = min(k, len(one))
        page.value = _sheet([draw_members(one, rank.value, n)]).data

    corpus.observe(show, "value")
    rank.observe(show, "value")
    show()
    return ipywidgets.VBox([ipywidgets.HBox([corpus, rank]), page])
