"""Results of `gpu.py` as a page of Markdown, to be pasted into `benchmarks/README.md`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from molnb.files import writing

COLUMNS = (
    "model | batch | molecules/s | TFLOP/s | of the card | peak GiB | MiB a molecule | "
    "nodes that are padding | first step, s"
)


def line(name: str, result: dict[str, Any]) -> str:
    """A row on one line: its name, state, seconds, and result or reason."""
    return f"{name:<18} {result['state']:<8} {result['seconds']:6.1f} s  {_told(result)}"


def _told(result: dict[str, Any]) -> str:
    return result.get("line") or result.get("reason", "")


def write_page(results: dict[str, Any], file: Path) -> None:
    """Write the page, whole or not at all."""
    with writing(file) as partial:
        partial.write_text("\n".join(page(results)) + "\n", encoding="utf-8")


def page(results: dict[str, Any]) -> list[str]:
    """The lines of the page: what was used, every row, and the timed steps in columns."""
    rows = results["rows"]
    lines = [
        heading(results),
        "",
        "| row | state | seconds | result |",
        "|---|---|---|---|",
    ]
    for name, result in rows.items():
        told = _told(result).replace("|", "/")
        lines.append(f"| {name} | {result['state']} | {result['seconds']:.0f} | {told} |")
    timed = {name: result for name, result in rows.items() if "molecules_a_second" in result}
    if timed:
        n_column = COLUMNS.count("|") + 1
        lines += ["", f"| {COLUMNS} |", "|" + "---|" * n_column]
        lines += [_timed_row(name, result) for name, result in timed.items()]
    return lines


def heading(results: dict[str, Any]) -> str:
    """When, on which card, with which versions, and how long it took."""
    card = results["rows"].get("card", {})
    parts = [
        results["date"][:10],
        card.get("name", "a card that was not measured"),
        f"torch {results['torch']}",
    ]
    if card.get("cuda"):
        parts.append(f"CUDA {card['cuda']}, driver {card.get('driver') or 'unknown'}")
    parts.append(f"molnb {results['molnb']['commit'] or results['molnb']['version']}")
    parts.append(f"data {Path(results['data']).name}")
    return f"{', '.join(parts)}; {results['seconds']:.0f} of {results['budget_seconds']:.0f} s."


def _timed_row(name: str, result: dict[str, Any]) -> str:
    memory = result["gib_a_molecule"]
    cells = [
        name,
        str(result["batch"]),
        f"{result['molecules_a_second']:.1f}",
        f"{result['flops'] / 1e12:.1f}",
        f"{result['share_of_card']:.1%}",
        _or_dash(result["peak_gib"], "{:.1f}"),
        _or_dash(memory and 1024 * memory, "{:.0f}"),
        f"{result['padded_nodes']:.0%}",
        f"{result['first_step_seconds']:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _or_dash(value: float | None, form: str) -> str:
    return "–" if value is None else form.format(value)
