"""Runs for TensorBoard: every logged number is there, at its step and time, and read back."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from core_only import run_core_only
from made_shards import make_shards
from tiny import TINY

pytest.importorskip("tensorboardX")

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
from tensorboardX.record_writer import masked_crc32c

from molnb.cli import main
from molnb.errors import InputError
from molnb.files import append_lines
from molnb.training.loop import train
from molnb.training.presets import make_preset
from molnb.training.runs import LOGS, Run
from molnb.training.tensorboard import EVENTS, export_tensorboard

SHORT = {"model": TINY, "steps": 6, "global_batch": 8, "n_val": 8, "eval_every": 3}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One that is pretrained and one that learns labels; to be read, never changed."""
    folder = tmp_path_factory.mktemp("runs")
    trees = make_shards(folder / "shards")
    return [
        train(make_preset(preset, [trees], **SHORT), folder / preset, device="cpu")
        for preset in ("pretrain_tiny", "finetune_tiny")
    ]


def read_events(file: Path) -> list[Event]:
    """The events of a file, whose check sums must be right."""
    return list(map(Event.FromString, _records(file.read_bytes())))


def _records(content: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(content):
        (size,) = struct.unpack_from("<Q", content, start)
        header = content[start : start + 8]
        record = content[start + 12 : start + 12 + size]
        sums = struct.unpack_from("<I", content, start + 8)
        sums += struct.unpack_from("<I", content, start + 12 + size)
        assert sums == (masked_crc32c(header), masked_crc32c(record))
        yield record
        start += 16 + size


def scalars(events: list[Event]) -> dict[tuple[str, int], float]:
    """The number of each tag and step, of which there may be one."""
    found = [
        ((value.tag, event.step), value.simple_value)
        for event in events
        for value in event.summary.value
        if value.WhichOneof("value") == "simple_value"
    ]
    assert len(dict(found)) == len(found)
    return dict(found)


def expected_scalars(run: Run) -> dict[tuple[str, int], float]:
    """What a run has logged, in single precision."""
    numbers = {}
    for row in run.metrics():
        kind = "train" if row["part"] == "train" else f"{row['part']}/{row['features']}"
        for name, value in row.items():
            if name not in ("step", "part", "features", "samples") and value is not None:
                numbers[f"{kind}/{name}", row["step"]] = float(np.float32(value))
    return numbers


def settings_of(events: list[Event]) -> tuple[dict, list[str]]:
    """Settings by name, and the names of metrics, as the HPARAMS tab reads them."""
    settings = {}
    metrics = []
    for event in events:
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name != "hparams":
                continue
            data = HParamsPluginData.FromString(value.metadata.plugin_data.content)
            metrics += [info.name.tag for info in data.experiment.metric_infos]
            for name, setting in data.session_start_info.hparams.items():
                settings[name] = getattr(setting, setting.WhichOneof("kind"))
    return settings, metrics


def test_every_number_of_the_metrics_is_read_back(runs, tmp_path):
    files = export_tensorboard(runs, tmp_path / "board")
    assert files == [tmp_path / "board" / run.path.name / EVENTS for run in runs]
    for run, file in zip(runs, files, strict=True):
        events = read_events(file)
        assert events[0].file_version == "brain.Event:2"
        found = scalars(events)
        logged = {key: value for key, value in found.items() if not key[0].startswith("saved/")}
        assert logged == expected_scalars(run) and len(logged) > 50
    found = scalars(read_events(files[0]))
    row = runs[0].last("hidden")
    assert found["val/hidden/loss", 6] == pytest.approx(row["loss"], rel=1e-6)
    assert ("train/loss", 1) in found and ("train/learning_rate", 6) in found


def test_times_are_those_of_the_run(runs, tmp_path):
    (run, _) = runs
    (file,) = export_tensorboard([run], tmp_path)
    status = run.read("status.json")
    seconds = {row["step"]: row["seconds"] for row in run.timings()}
    events = read_events(file)
    began = events[0].wall_time
    assert began == pytest.approx(status["updated"] - status["seconds"])
    at = {e.step: e.wall_time - began for e in events[1:] if scalars([e])}
    assert at == pytest.approx(seconds, abs=1e-3) and len(at) == 7
    times = [event.wall_time for event in events]
    assert times == sorted(times)


def test_settings_stand_beside_the_losses_of_the_saved_weights(runs, tmp_path):
    for run, file in zip(runs, export_tensorboard(runs, tmp_path), strict=True):
        events = read_events(file)
        settings, metrics = settings_of(events)
        assert settings["learning_rate"] == run.config.learning_rate
        assert settings["model.d_atom"] == 16 and settings["compile"] is False
        assert settings["betas"] == "[0.9, 0.99]" and settings["name"] == run.name
        assert all(len(value) < 200 for value in settings.values() if isinstance(value, str))
        losses = run.saved_losses()
        assert metrics == [f"saved/{part}/{features}/loss" for part, features in losses]
        found = scalars(events)
        step = run.saved_scores()["step"]
        assert [found[tag, step] for tag in metrics] == pytest.approx(list(losses.values()))
        (text,) = [v for e in events for v in e.summary.value if v.tag == "config/text_summary"]
        stored = text.tensor.string_val[0].decode().removeprefix("```json\n").removesuffix("\n```")
        assert json.loads(stored) == run.read("config.json")


def test_what_is_undefined_or_was_not_begun_is_left_out(runs, tmp_path):
    run = Run(shutil.copytree(runs[0].path, tmp_path / "copied"))
    rows = [
        {"step": 6, "part": "val_random", "features": "visible", "loss": 1.5, "x_auroc": None},
        {"step": 6, "part": "val_random", "features": "hidden", "loss": float("nan"), "n": 2**40},
    ]
    append_lines(run.path / LOGS[0], map(json.dumps, rows))
    (file,) = export_tensorboard([run], tmp_path / "board")
    found = scalars(read_events(file))
    assert found["val_random/visible/loss", 6] == 1.5
    assert np.isnan(found["val_random/hidden/loss", 6])
    assert found["val_random/hidden/n", 6] == 2**40
    assert not any(tag.endswith("auroc") for tag, _ in found)
    for name in (*LOGS, "status.json"):
        (run.path / name).unlink()
    (file,) = export_tensorboard([run], tmp_path / "board")
    assert scalars(read_events(file)) == {}, "and what was there is replaced"
    assert [path.name for path in file.parent.iterdir()] == [EVENTS]


def test_another_place_is_asked_for_where_it_cannot_be(runs, tmp_path):
    target = tmp_path / "board" / runs[0].path.name
    target.mkdir(parents=True)
    (target / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="holds 1 other things"):
        export_tensorboard(runs, tmp_path / "board")
    assert [path.name for path in (tmp_path / "board").iterdir()] == [runs[0].path.name]
    with pytest.raises(InputError, match="2 runs are called pretrain_tiny"):
        export_tensorboard([runs[0], runs[0].path], tmp_path / "other")
    with pytest.raises(InputError, match="no runs to export"):
        export_tensorboard([], tmp_path / "other")


def test_the_command_writes_those_that_are_named_or_all(runs, tmp_path, home, capsys):
    board = str(tmp_path / "board")
    assert main(["runs", *(str(run.path) for run in runs), "--tensorboard", board]) == 0
    assert capsys.readouterr().out.startswith(f"2 runs in {board}: `tensorboard --logdir {board}`")
    assert len(list((tmp_path / "board").iterdir())) == 2
    shutil.copytree(runs[0].path, home / "runs" / "kept")
    assert main(["runs", "--tensorboard", board]) == 0
    assert len(list((tmp_path / "board").iterdir())) == 3
    assert main(["runs", "nowhere", "--tensorboard", board]) == 2
    assert "is no run" in capsys.readouterr().err


def test_where_the_package_is_not_there_it_is_named(runs, tmp_path):
    words = ["runs", str(runs[0].path), "--tensorboard", str(tmp_path / "board")]
    code = f"from molnb.cli import main\nsys.exit(main({words!r}))"
    done = run_core_only(code)
    assert done.returncode == 1 and not (tmp_path / "board").exists()
    assert done.stderr.startswith("molnb runs: needs tensorboardX: pip install ")
