"""The lines that say what became of the members of a mix, from its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def mix_lines(mix: dict[str, Any]) -> Iterator[str]:
    """Rows of every member, what was joined, what stays apart and why, conflicts and leaks."""
    for name, member in mix["members"].items():
        sides = "/".join(f"{n:,}" for n in member["sides"].values())
        n_sample = member["molecules"] - member["joined"]
        yield (
            f"  {name}: {member['rows']:,} rows, {member['molecules']:,} molecules = "
            f"{n_sample:,} samples + {member['joined']:,} joined to earlier ones; "
            f"split {member['split']} {sides}, "
            f"weight {member['weight']:g} [{member['folder']}]"
        )
    yield f"  samples of several members: {_counted(mix['joined'])}"
    apart = mix["apart"]
    if any(apart.values()):
        yield (
            "  one molecule, samples of its own in several members: "
            f"{apart['geometry']:,} for another rule of geometry, {apart['side']:,} for another "
            "side of the split (column identity)"
        )
    if mix["renamed"]:
        yield f"  renamed, since names mean different things: {', '.join(mix['renamed'])}"
    if mix["conflicts"]:
        yield (
            "  labels on which members disagree, the first member's value is kept: "
            f"{_counted(mix['conflicts'])} (conflicts.parquet)"
        )
    yield f"  leaks, training of one member in val or test of another: {_leaks(mix)}"


def _leaks(mix: dict[str, Any]) -> str:
    pairs = {f"{leak['train']} in {leak['held_out_by']}": leak["n"] for leak in mix["leaks"]}
    if not pairs:
        return "none"
    done = "taken out of training" if mix["leaks_dropped"] else "kept (leaks: drop takes them out)"
    return f"{_counted(pairs)}; {mix['leaking']:,} samples, {done}"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"
