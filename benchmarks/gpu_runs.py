"""Whole runs on the device: one that was stopped and resumed beside three seeds; marked tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gpu_setting import Setting, Skipped

from molnb.files import file_digest
from molnb.models.interface import EncoderConfig
from molnb.training.config import RunConfig
from molnb.training.loop import train
from molnb.training.presets import TINY
from molnb.training.runs import Run

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (0, 1, 2)
RESULTS = ("weights.safetensors", "metrics.jsonl")


def resume_within_seeds(
    setting: Setting, model: EncoderConfig = TINY, precision: str = "bfloat16"
) -> dict[str, Any]:
    """A run stopped half way and resumed by another process, beside three whole ones.

    Its seed is that of the middle loss. On a GPU, where sums come in any order, the last validation
    loss must lie within the range of the three seeds. On a CPU, in float32, weights and metrics
    must be those of its seed to the last bit.
    """
    folder = setting.scratch / f"resume-{model.family}"
    shutil.rmtree(folder, ignore_errors=True)  # of an earlier time
    device = str(setting.device)
    config_of = partial(make_config, setting, model, precision)
    whole = [train(config_of(seed), folder / f"{seed}", device=device) for seed in SEEDS]
    losses = [last_loss(run) for run in whole]
    middle = losses.index(statistics.median(losses))
    stop = setting.steps // 2
    config = config_of(SEEDS[middle])
    stopped = train(config, folder / "resumed", lambda report: report.step < stop, device)
    if stopped.status()["step"] != stop:
        raise ValueError(f"stopped at step {stopped.status()['step']} and not at {stop}")
    resumed = resume_elsewhere(stopped, device)
    loss = last_loss(resumed)
    within = min(losses) <= loss <= max(losses)
    same_bits = all(
        file_digest(resumed.path / name) == file_digest(whole[middle].path / name)
        for name in RESULTS
    )
    return {
        "ok": within if setting.on_gpu else same_bits,
        "line": (
            f"{setting.steps} steps in {config.precision}: resumed {loss:.4f}, "
            f"its seed {losses[middle]:.4f}, seeds {min(losses):.4f} to {max(losses):.4f}; "
            f"the same bits as its seed: {'yes' if same_bits else 'no'}"
        ),
        "steps": setting.steps,
        "stopped_at": stop,
        "precision": config.precision,
        "losses_of_seeds": losses,
        "loss_resumed": loss,
        "seed": SEEDS[middle],
        "same_bits": same_bits,
        "seconds_of_runs": [run.status()["seconds"] for run in (*whole, resumed)],
    }


def make_config(setting: Setting, model: EncoderConfig, precision: str, seed: int) -> RunConfig:
    """A tiny pretraining on the data; on a CPU of few molecules a step, and in float32."""
    return RunConfig(
        name="resume",
        data=(str(setting.data.resolve()),),
        model=model,
        seed=seed,
        steps=setting.steps,
        global_batch=64 if setting.on_gpu else 8,
        learning_rate=2e-3,
        warmup_steps=max(1, setting.steps // 4),
        n_val=256 if setting.on_gpu else 16,
        eval_every=setting.steps,
        checkpoint_every=setting.steps,
        precision=precision if setting.on_gpu else "float32",
    )


def resume_elsewhere(run: Run, device: str) -> Run:
    """The run trained to its end by a new process."""
    code = "import sys; from molnb import train; train(sys.argv[1], device=sys.argv[2])"
    subprocess.run([sys.executable, "-c", code, str(run.path), device], check=True)
    return Run(run.path)


def last_loss(run: Run) -> float:
    """The validation loss of the last step, mean of hidden and visible features."""
    last = run.status()["step"]
    return statistics.mean(row["loss"] for row in run.metrics("val") if row["step"] == last)


# --------------------------------------------------------------------------------- the marked tests


def need_tests(setting: Setting) -> None:
    """Raise Skipped where no test is marked for the device."""
    if importlib.util.find_spec("pytest") is None:
        raise Skipped("pytest is not installed")
    if not setting.on_gpu:
        raise Skipped("the tests are marked gpu, and this is a CPU")


def run_marked_tests(setting: Setting) -> dict[str, Any]:
    """The tests marked `gpu` in this checkout."""
    return run_tests(ROOT, setting.scratch, ["-m", "gpu"])


def run_tests(folder: Path, scratch: Path, options: Sequence[str]) -> dict[str, Any]:
    """What pytest says in a folder: how many passed, which did not and why."""
    scratch.mkdir(parents=True, exist_ok=True)
    report = scratch / "tests.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "--durations=10", "-p", "no:cacheprovider"]
    command += [f"--junitxml={report}", *options]
    process = subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONUNBUFFERED": "1"})
    if not report.exists():
        raise ValueError(f"pytest ended with {process.returncode} and left no report")
    cases = ElementTree.parse(report).getroot().findall(".//testcase")
    outcomes: dict[str, list[str]] = {"passed": [], "failed": [], "skipped": []}
    reasons = {}
    for case in cases:
        name = case.get("name", "?")
        wrong = case.find("failure")
        wrong = case.find("error") if wrong is None else wrong
        if wrong is not None:
            outcomes["failed"].append(name)
            reasons[name] = (wrong.get("message") or "")[:500]
        else:
            outcomes["skipped" if case.find("skipped") is not None else "passed"].append(name)
    counts = ", ".join(f"{len(names)} {outcome}" for outcome, names in outcomes.items())
    failed = ": " + ", ".join(outcomes["failed"]) if outcomes["failed"] else ""
    return {
        "ok": process.returncode == 0 and bool(outcomes["passed"]),
        "line": counts + failed,
        "exit_code": process.returncode,
        "seconds_of_tests": {case.get("name", "?"): float(case.get("time", 0)) for case in cases},
        **outcomes,
        "reasons": reasons,
    }
