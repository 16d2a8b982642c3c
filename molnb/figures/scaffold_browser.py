"""Drawings of scaffolds and of the molecules on them, as HTML that needs no network.

What a slider shows in JupyterLab stands as a plain picture above it, which survives saving and
export.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any

from rdkit import Chem, rdBase
from rdkit.Chem import rdDepictor
from rdkit.Chem.Draw import rdMolDraw2D

from ..curation.scaffolds import ACYCLIC, Scaffolds, molecules_on
from ..kernel import headless
from .style import COLOURS
from .svg import slim_svg

HIGHLIGHT = (0.66, 0.84, 1.0)


def sample_title(scaffolds: Scaffolds) -> str:
    """Which molecules a figure rests on: so many counted of all, and the rows where sampled."""
    corpus = scaffolds.corpus
    words = f"{scaffolds.name}: {scaffolds.n_molecule:,} of {corpus.n:,} molecules"
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
        core_atoms = _lay_out(mol, core)
        pen = rdMolDraw2D.MolDraw2DSVG(width, height)
        options = pen.drawOptions()
        options.clearBackground = False
        options.fixedBondLength = 22.0
        options.padding = 0.04
        options.minFontSize = 9
        options.setHighlightColour(HIGHLIGHT)
        core_bonds = [
            bond.GetIdx()
            for bond in mol.GetBonds()
            if {bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()} <= set(core_atoms)
        ]
        rdMolDraw2D.PrepareAndDrawMolecule(
            pen, mol, highlightAtoms=core_atoms, highlightBonds=core_bonds
        )
    pen.FinishDrawing()
    return slim_svg(pen.GetDrawingText())


def _lay_out(mol: Chem.Mol, core: str | None) -> list[int]:
    """Lay a molecule out so that its core stands as it would alone; returns its scaffold's atoms.

    Without a core nothing is laid out, and no atom returned.
    """
    if core is None:
        return []
    scaffold = Chem.MurckoDecompose(mol)
    scaffold_atoms = list(mol.GetSubstructMatch(scaffold)) if scaffold.GetNumAtoms() else []
    template = Chem.MolFromSmiles(core)
    match = mol.GetSubstructMatch(template) if template is not None else ()
    if match:
        rdDepictor.Compute2DCoords(template)
        rdDepictor.GenerateDepictionMatching2DStructure(mol, template, list(enumerate(match)))
    return scaffold_atoms


def _text_svg(text: str, width: int, height: int) -> str:
    lines = [text[start : start + 14] for start in range(0, min(len(text), 56), 14)]
    spans = "".join(f'<tspan x="50%" dy="1.2em">{html.escape(line)}</tspan>' for line in lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">'
        f'<text y="{height // 3}" text-anchor="middle" font-family="monospace" font-size="11" '
        f'fill="#444">{spans}</text></svg>'
    )


def _cell(drawing: str, caption: str, width: int, bar: float | None = None, hover: str = "") -> str:
    """A drawing with its caption, a bar of a length from 0 to 1, and words on hover."""
    line = ""
    if bar is not None:
        style = f"height:7px;width:{100 * bar:.1f}%;background:{COLOURS[0]}"
        line = f'<div style="{style}"></div>'
    return (
        f'<figure title="{html.escape(hover)}" style="margin:0;width:{width}px;text-align:center">'
        f"{drawing}{line}"
        f'<figcaption style="font-size:13px;line-height:1.25">{caption}</figcaption></figure>'
    )


def _grid(cells: Sequence[str], columns: int, width: int, title: str = "") -> str:
    head = ""
    if title:
        style = "font-weight:bold;font-size:15px;margin:4px 0"
        head = f'<div style="{style}">{html.escape(title)}</div>'
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
    for corpus in scaffolds:
        top = corpus.most_frequent(k)
        longest = math.log(top["n"].max() + 1)
        cells = [
            _cell(
                draw_structure(row.scaffold, width, 62),
                f"<b>{row.rank}</b> · {100 * row.share:.2g} %",
                width,
                bar=math.log(row.n + 1) / longest,
                hover=f"{row.n:,} molecules, {row.scaffold}",
            )
            for row in top.itertuples()
        ]
        blocks.append(_grid(cells, columns, width, sample_title(corpus)))
    return _sheet(blocks)


def draw_members(scaffolds: Scaffolds, rank: int, n: int = 5, width: int = 148) -> str:
    """HTML of one scaffold, by its rank, and its first n molecules, in which it is highlighted."""
    scaffold = scaffolds.most_frequent(rank).iloc[-1]
    name = scaffold["scaffold"]
    core = name if scaffolds.kind == "murcko" and name != ACYCLIC else ""
    members = molecules_on(scaffolds, name, n)
    cells = [_cell(draw_structure(name, width, 110), f"<b>rank {rank}</b>", width)]
    for member in members.itertuples():
        drawing = draw_structure(member.smiles, width, 110, core)
        cells.append(_cell(drawing, f"row {member.row:,}", width))
    title = f"{scaffolds.name}, {name}: {len(members)} of {scaffold['n']:,} molecules"
    return _grid(cells, len(cells), width, title)


def show_members(
    scaffolds: Sequence[Scaffolds], ranks: Sequence[int] = (1, 2, 3), n: int = 5, k: int = 40
) -> Any:
    """Display the molecules behind the scaffolds of some ranks, of each corpus.

    In JupyterLab also a slider through the first k.
    """
    from IPython.display import display

    blocks = [
        draw_members(corpus, rank, n)
        for corpus in scaffolds
        for rank in ranks
        if rank <= len(corpus)
    ]
    display(_sheet(blocks, "column"))
    if not headless():
        display(browse_members(scaffolds, n, k))


def browse_members(scaffolds: Sequence[Scaffolds], n: int = 5, k: int = 40) -> Any:
    """A choice of corpus and a slider over ranks, with the molecules they stand for."""
    import ipywidgets

    by_name = {f"{number}: {corpus.name}": corpus for number, corpus in enumerate(scaffolds, 1)}
    choice = ipywidgets.ToggleButtons(options=list(by_name), description="corpus")
    rank = ipywidgets.IntSlider(
        value=1, min=1, max=min(k, len(scaffolds[0])), description="rank", continuous_update=False
    )
    page = ipywidgets.HTML()

    def show(_change: Any = None) -> None:
        corpus = by_name[choice.value]
        rank.max = min(k, len(corpus))
        page.value = _sheet([draw_members(corpus, rank.value, n)]).data

    choice.observe(show, "value")
    rank.observe(show, "value")
    show()
    return ipywidgets.VBox([ipywidgets.HBox([choice, rank]), page])
