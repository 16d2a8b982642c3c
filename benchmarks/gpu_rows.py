"""What a row of `gpu.py` is, and which there are: add one here, with the seconds it may take.

A row is a function of a `Setting` that returns plain values for JSON, `ok` and `line` among them:
whether the outcome is as it must be, and one sentence of results for the table. It raises `Skipped`
where it cannot be measured here; what it `needs` says so before a process is started for it. It
runs in a process of its own, which is ended when its time is over; what it prints goes to a log of
its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from gpu_agreement import agree
from gpu_card import describe_card
from gpu_graphs import NETWORKS, agree_of_graphs, need_geometric, resume_graph, time_network
from gpu_runs import need_tests, resume_within_seeds, run_marked_tests
from gpu_scale import connect_one, split_blocks, time_checkpoint
from gpu_setting import Setting
from gpu_speed import beside_reference, need_reference, time_size

from molnb.errors import InputError, did_you_mean


class Row(NamedTuple):
    """A measurement: its name, the seconds it may take (start of a process included), and how."""

    name: str
    seconds: float
    measure: Callable[..., dict[str, Any]]
    needs: Callable[[Setting], None] = lambda setting: None  # raises Skipped


SIZES = "sizes"  # stands for the rows of all sizes
FIRST = "84m"  # the size that is measured first, compiled too
GRAPHS = "graphs"  # stands for the rows of all graph networks
COMPILED_GRAPH = "10m"  # the graph network that is measured compiled too
SECONDS_OF_SIZE = {"42m": 15, "84m": 20, "164m": 20, "310m": 25, "570m": 30, "1100m": 40}
KEPT = {"84m": 20, "1100m": 70}  # sizes whose checkpoints are timed, and seconds
SPLIT = {"570m": 40, "1100m": 50}  # sizes that are trained with split blocks too, and seconds
SECONDS = {
    "card": 15,
    "agree": 20,
    "compiled": 60,
    "tests": 150,
    "resume": 60,
    "reference": 25,
    "graph-agree": 20,
    "graph-resume": 40,
    "graph-compiled": 40,
    "connected": 40,
}
SECONDS_OF_GRAPH = 20


def make_rows(sizes: Iterable[str]) -> list[Row]:
    """All rows in the order of their worth: what is wrong first, then what is slow."""
    sizes = list(sizes)
    first = FIRST if FIRST in sizes else sizes[0]
    largest = sizes[-1]
    others = [size for size in sizes if size != first]
    split = [size for size in sizes if size in SPLIT] or [largest]
    return [
        Row("card", SECONDS["card"], describe_card),
        Row("agree", SECONDS["agree"], agree),
        _size_row(first),
        Row("graph-agree", SECONDS["graph-agree"], agree_of_graphs, need_geometric),
        *(
            Row(
                f"graph-{name}",
                SECONDS_OF_GRAPH,
                partial(time_network, name=name, compiled=False),
                need_geometric,
            )
            for name in NETWORKS
        ),
        Row("tests", SECONDS["tests"], run_marked_tests, need_tests),
        Row("resume", SECONDS["resume"], resume_within_seeds),
        Row("connected", SECONDS["connected"], partial(connect_one, size=first)),
        _kept_row(first),
        Row("graph-resume", SECONDS["graph-resume"], resume_graph, need_geometric),
        Row(
            f"{first}-compiled",
            SECONDS["compiled"],
            partial(time_size, size=first, compiled=True),
        ),
        Row(
            f"graph-{COMPILED_GRAPH}-compiled",
            SECONDS["graph-compiled"],
            partial(time_network, name=COMPILED_GRAPH, compiled=True),
            need_geometric,
        ),
        *(_size_row(size) for size in others),
        *(
            Row(f"split-{size}", SPLIT.get(size, 20), partial(split_blocks, size=size))
            for size in split
        ),
        *([_kept_row(largest)] if largest != first else []),
        Row(
            "reference",
            SECONDS["reference"],
            partial(beside_reference, size=first),
            need_reference,
        ),
    ]


def _size_row(size: str) -> Row:
    seconds = SECONDS_OF_SIZE.get(size, max(SECONDS_OF_SIZE.values()))
    return Row(size, seconds, partial(time_size, size=size, compiled=False))


def _kept_row(size: str) -> Row:
    return Row(f"checkpoint-{size}", KEPT.get(size, 20), partial(time_checkpoint, size=size))


def choose_rows(rows: list[Row], names: Iterable[str], sizes: Iterable[str]) -> list[Row]:
    """The rows of these names in their usual order; raises InputError for a name of none.

    The name "sizes" stands for the rows of all sizes, "graphs" for those of graph networks.
    """
    known = [row.name for row in rows]
    several = {
        SIZES: {name for name in known if name.partition("-")[0] in set(sizes)},
        GRAPHS: {name for name in known if name.startswith("graph-")},
    }
    chosen: set[str] = set()
    for name in names:
        if name not in several and name not in known:
            raise InputError(
                f"unknown row {name!r}{did_you_mean(name, [*known, *several])}: choose of "
                f"{', '.join(known)}; {SIZES} or {GRAPHS} for all of them"
            )
        chosen |= several.get(name, {name})
    return [row for row in rows if row.name in chosen] if chosen else rows


def check_reference(reference: Path | None, core: Path | None) -> None:
    """Raise InputError where only one of the two checkouts is named."""
    if bool(reference) != bool(core):
        raise InputError("give both --reference and --core, or neither (then its row is skipped)")
