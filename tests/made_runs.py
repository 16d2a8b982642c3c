"""Folders of runs that were never trained: losses follow a law, with noise of seeds and steps."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from molnb.evaluation.scaling.laws import Law, SizeDataLaw
from molnb.evaluation.scaling.transfer import RANDOM, TRAINED
from molnb.files import write_json
from molnb.models.families import count_parameters
from molnb.models.unimol2.sizes import make_laptop
from molnb.training.config import RunConfig
from molnb.training.runs import Run

# As losses of small models on molecules fall: from 1.3 to 0.5 over what is made here.
TRUTH = SizeDataLaw(E=0.25, A=20.0, a=0.35, B=60.0, b=0.4)
NOISE = 0.005  # of log loss
SIZES = tuple(np.geomspace(1e5, 1e7, 5))
DATA = tuple(np.geomspace(64_000, 640_000, 20))
CORPUS = 400_000
RATE = 2e10  # FLOP/s
SLOPE = 0.6  # of log errors on an assay against log losses


def noisy(random: np.random.Generator, n: int, lag: float = 0.0) -> np.ndarray:
    """Noise of a run, of standard deviation 1, with a correlation between neighbours."""
    noise = random.normal(size=n)
    for number in range(1, n):
        noise[number] = lag * noise[number - 1] + np.sqrt(1 - lag**2) * noise[number]
    return noise


def made_points(
    seed: int = 0,
    n_seed: int = 3,
    sizes=SIZES,
    data=DATA,
    law: Law = TRUTH,
    noise: float = NOISE,
    lag: float = 0.0,
    run_noise: float = 0.0,
) -> pd.DataFrame:
    """A table as `loss_points` makes it, of runs whose losses follow a law of size and data."""
    random = np.random.default_rng(seed)
    data = np.array(data, float)
    tables = []
    for number, n in enumerate(sizes):
        for run_seed in range(n_seed):
            name = f"size{number}-seed{run_seed}"
            log_noise = noise * noisy(random, len(data), lag) + run_noise * random.normal()
            loss = law.predict({"N": n, "samples": data}) * np.exp(log_noise)
            flops = 18 * n * data
            tables.append(
                pd.DataFrame(
                    {
                        "run": name,
                        "group": f"group{number}",
                        "trunk": name,
                        "name": f"size{number}",
                        "family": "unimol2",
                        "N": n,
                        "parameters": 1.1 * n,
                        "seed": run_seed,
                        "steps": int(data[-1] / 64),
                        "corpus": CORPUS,
                        "device": "a processor",
                        "part": "val",
                        "features": "hidden",
                        "term": "loss",
                        "step": (data / 64).astype(int),
                        "samples": data,
                        "unique": np.minimum(data, CORPUS),
                        "flops": flops,
                        "seconds": flops / RATE,
                        "loss": loss,
                        "final": data == data[-1],
                    }
                )
            )
    return pd.concat(tables, ignore_index=True)


@dataclass(frozen=True)
class Plan:
    """A run that is made: two tracks of so many layers, and so many steps of 64 molecules."""

    n_layer: int = 4
    steps: int = 400
    seed: int = 0
    name: str = "made"
    eval_every: int = 50
    log_every: int = 20
    changes: tuple[tuple[str, Any], ...] = ()

    def config(self) -> RunConfig:
        config = RunConfig(
            name=self.name,
            data=("corpus",),
            model=make_laptop(self.n_layer),
            steps=self.steps,
            global_batch=64,
            warmup_steps=10,
            seed=self.seed,
            eval_every=self.eval_every,
            log_every=self.log_every,
        )
        return replace(config, **dict(self.changes))


def made_run(folder: Path, plan: Plan = Plan(), state: str = "done", law: Law = TRUTH) -> Run:
    """A folder as a run leaves it: configuration, metrics, timings and status, without weights."""
    config = plan.config()
    n = count_parameters(config.model).n
    random = np.random.default_rng([plan.n_layer, plan.seed, plan.steps])
    rows = []
    timings = []
    for step in range(config.steps + 1):
        flops = 100 * n * 64 * step
        of_step = []
        if step and step % config.log_every == 0 or step == config.steps:
            rate = config.learning_rate * (1 - (step - 1) / config.steps)
            of_step.append(train_row(step, flops, rate))
        if step % config.eval_every == 0 or step == config.steps:
            at = {"N": n, "samples": 64 * max(step, 1)}
            loss = float(law.predict(at)[0] * np.exp(NOISE * random.normal()))
            of_step += [val_row(step, "hidden", loss), val_row(step, "visible", loss / 2)]
        if of_step:
            rows += of_step
            timings.append({"step": step, "seconds": flops / RATE})
    write_json(json.loads(json.dumps(config.to_dict())), folder / "config.json")
    status = {"state": state, "step": config.steps, "steps": config.steps, "device": "cpu"}
    status |= {"train_molecules": 20_000, "flops": flops, "seconds": flops / RATE}
    write_json(status, folder / "status.json")
    write_json({"processor": "a processor"}, folder / "machine.json")
    for file, lines in (("metrics.jsonl", rows), ("timings.jsonl", timings)):
        (folder / file).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return Run(folder)


def train_row(step: int, flops: int, rate: float) -> dict[str, Any]:
    """A logged training step."""
    row = {"step": step, "part": "train", "features": "mixed", "loss": 1.0}
    return row | {"learning_rate": rate, "molecules": 64 * step, "flops": flops}


def val_row(step: int, features: str, loss: float) -> dict[str, Any]:
    """A logged validation."""
    return {"step": step, "part": "val", "features": features, "loss": loss, "coords": loss / 3}


def made_sweep(folder: Path, n_seed: int = 2, lengths=(100, 200, 400), layers=(4, 6, 8)) -> Path:
    """Runs of three sizes, three lengths and some seeds below a folder."""
    for n_layer in layers:
        for steps in lengths:
            for seed in range(n_seed):
                plan = Plan(n_layer, steps, seed, f"laptop-{n_layer}")
                made_run(folder / f"{n_layer}-{steps}-{seed}", plan)
    return folder


def made_encoders(n_stage=3, noise=0.002, seed=0, of_size=0.0):
    """Encoders of three sizes, two seeds and some stages, whose errors follow a power of losses."""
    random = np.random.default_rng(seed)
    rows = []
    for n in (1e4, 1e5, 1e6):
        for run_seed in (0, 1):
            for stage in range(n_stage):
                loss = 2.0 * n**-0.05 * (stage + 1) ** -0.3 * np.exp(0.01 * random.normal())
                error = loss**SLOPE * n**of_size * np.exp(noise * random.normal())
                row = {"kind": TRAINED, "N": n, "trunk": f"{n}-{run_seed}", "step": stage + 1}
                row |= {"term": "loss"}
                rows.append(row | {"loss": loss, "error": error})
            begin = {"kind": RANDOM, "N": n, "trunk": f"{n}-{run_seed}", "step": 0}
            rows.append(begin | {"term": "loss", "loss": 3.0, "error": 9.0})
    return pd.DataFrame(rows)
