"""Runs as TensorBoard reads them: one folder a run, with every logged number and its settings."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..files import check_folder, writing
from .runs import Run, find_run

if TYPE_CHECKING:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

# TensorBoard takes for events what has this in its name.
EVENTS = "events.out.tfevents.molnb"
_VERSION = "brain.Event:2"  # what a file of events begins with
_MIXED = "mixed"  # features of training rows, which need no word
_LONGEST = 120  # characters of a list of settings, such as ids of rows: whole in the text tab


def export_tensorboard(runs: Sequence[Run | str | Path], folder: str | Path) -> list[Path]:
    """Write what runs have logged for TensorBoard, a folder each; returns the files.

    Tags are part, features and term: `val/hidden/loss`; of training batches `train/loss`. Numbers
    are in single precision, as TensorBoard keeps scalars; what is undefined is left out. Times are
    those of the run, as if it had not been interrupted. Settings stand in its text and HPARAMS
    tabs, with the validation losses of the saved weights (`saved/val/hidden/loss`). Written again,
    a run's file is replaced. Raises InputError for a folder that holds other things.
    """
    from tensorboardX.record_writer import RecordWriter

    runs = [run if isinstance(run, Run) else find_run(run) for run in runs]
    targets = [Path(folder) / name for name in _folder_names(runs)]
    for target in targets:
        check_folder(target, _is_export)
    files = []
    for run, target in zip(runs, targets, strict=True):
        with writing(target / EVENTS) as partial, closing(RecordWriter(str(partial))) as writer:
            for event in _events(run):
                writer.write(event.SerializeToString())
        files.append(target / EVENTS)
    return files


def _folder_names(runs: Sequence[Run]) -> list[str]:
    """The names of the runs' folders, which are to differ."""
    if not runs:
        raise InputError("no runs to export: train one first, or name another folder")
    names = [run.path.resolve().name for run in runs]
    for name, count in Counter(names).items():
        if count > 1:
            raise InputError(f"{count} runs are called {name}: export them to different folders")
    return names


def _is_export(folder: Path) -> bool:
    """Whether a folder holds no more than an export writes."""
    return {name for name in os.listdir(folder) if not name.startswith(".")} <= {EVENTS}


def _events(run: Run) -> Iterator[Event]:
    """What a run has logged, event by event."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.summary import hparams, text

    began = _beginning(run)
    seconds = {row["step"]: row["seconds"] for row in run.timings()}
    settings = run.read("config.json")
    losses = {
        f"saved/{part}/{features}/loss": loss
        for (part, features), loss in run.saved_losses().items()
        if loss is not None
    }
    yield Event(wall_time=began, file_version=_VERSION)
    as_text = f"```json\n{json.dumps(settings, indent=1, ensure_ascii=False)}\n```"
    yield Event(wall_time=began, summary=text("config", as_text))
    for summary in hparams(dict(flat_settings(settings)), losses):
        yield Event(wall_time=began, summary=summary)
    for row in run.metrics():
        at = began + seconds.get(row["step"], 0.0)
        yield Event(wall_time=at, step=row["step"], summary=_scalars(tagged(row)))
    saved = run.saved_scores()
    if losses:
        at = began + seconds.get(saved["step"], 0.0)
        yield Event(wall_time=at, step=saved["step"], summary=_scalars(losses.items()))


def _scalars(numbers: Iterable[tuple[str, float]]) -> Summary:
    """Numbers by tag, as a summary."""
    from tensorboardX.proto.summary_pb2 import Summary

    return Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in numbers])


def tagged(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """The numbers of a row of a run's metrics, each with its tag."""
    kind = row["part"] if row["features"] == _MIXED else f"{row['part']}/{row['features']}"
    for name, value in row.items():
        if name != "step" and isinstance(value, (int, float)):
            yield f"{kind}/{name}", float(value)


def flat_settings(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of a stored configuration by name, as `model.n_layer`; lists as short text."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat_settings(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            text = json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{name}", text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
        elif value is not None:
            yield f"{prefix}{name}", value


def _beginning(run: Run) -> float:
    """When a run would have begun, had it not been interrupted, in seconds since 1970.

    Its status has the time when it was written, and the seconds until then.
    """
    status = run.read("status.json")
    return max(0.0, status.get("updated", 0.0) - status.get("seconds", 0.0))
