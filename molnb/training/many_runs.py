"""Many runs: as many under way as there is room for, and whether a folder holds the one asked for.

Sweeps and studies stand on this: what is finished in their folders is never repeated, so a folder
must hold what it is taken for.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

from .config import RunConfig

Item = TypeVar("Item")
SECONDS_BETWEEN_LOOKS = 0.5


def as_done(
    submit: Callable[[Item], Future],
    items: Iterable[Item],
    at_once: int,
    going_on: Callable[[], bool] | None = None,
) -> Iterator[tuple[Item, Future]]:
    """Items as they are done, each with its future; at most `at_once` of them are under way.

    `going_on` is asked before any is begun, and twice a second: once it says no, nothing more is
    begun, and what is under way is waited for.
    """
    waiting = deque(items)
    under_way: dict[Future, Item] = {}
    pause = None if going_on is None else SECONDS_BETWEEN_LOOKS
    while waiting or under_way:
        if going_on is not None and not going_on():
            waiting.clear()
        while waiting and len(under_way) < max(1, at_once):
            item = waiting.popleft()
            under_way[submit(item)] = item
        for future in wait(under_way, pause, FIRST_COMPLETED).done:
            yield under_way.pop(future), future


def differing_settings(stored: RunConfig, asked: RunConfig) -> list[str]:
    """Names of the settings in which a run that is there differs from the one that is asked for.

    What a run reads from its data when it begins is no difference, nor are the names of its tasks
    where all that the data have are asked for.
    """
    found = _settings(stored)
    wanted = _settings(asked)
    if not wanted["objective"].get("task_names", True):
        found["objective"].pop("task_names", None)
        wanted["objective"].pop("task_names")
    return [name for name in wanted if found[name] != wanted[name]]


def _settings(config: RunConfig) -> dict[str, Any]:
    """A configuration as it is stored, without what is read from the data when a run begins.

    Nor with what decides nothing but the time.
    """
    stored = json.loads(json.dumps(config.to_dict()))
    del stored["pair_budget"]
    for name in ("tasks_scaled", "beside_widths"):
        stored["objective"].pop(name, None)
    return stored
