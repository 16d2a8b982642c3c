"""AdamW and Muon, with and without averaged weights, at a rate that falls or stays: one table.

    python benchmarks/optimizers.py                                   laptop_0m25 on nci, one seed
    python benchmarks/optimizers.py --data data/wehi-... --preset laptop_1m --seeds 0 1 2
    python benchmarks/optimizers.py --optimizers muon --rates 1e-3 2e-3 4e-3 --averages none 0.99

Every combination is trained from its beginning, each run in a process of its own, one after
another; a row is a combination, over its seeds. The loss is that of validation molecules with
features hidden at the last step, by the weights that the run hands out: mean, and the lowest and
highest seed. Seconds, CPU-seconds and memory are the runs' own records; their means stand in the
table, of memory the largest. Times count only where nothing else runs meanwhile.

With `--out` runs are kept in a folder, and those that are there already are not trained again.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from molnb import Shards, curate, make_preset
from molnb.errors import InputError
from molnb.paths import find_curated
from molnb.shards import load_shards
from molnb.training.config import OPTIMIZERS, SCHEDULES, RunConfig
from molnb.training.loop import prepare_run
from molnb.training.runs import Run


class Way(NamedTuple):
    """A way to train; the seeds of one way are a row of the table."""

    optimizer: str
    average: float | None
    schedule: str
    rate: float | None  # None is the preset's

    @property
    def settings(self) -> dict[str, Any]:
        """The fields of a configuration that it decides."""
        settings = self._asdict()
        settings["ema_decay"] = settings.pop("average")
        rate = settings.pop("rate")
        return settings if rate is None else settings | {"learning_rate": rate}

    def make_config(self, dataset: Shards, options: argparse.Namespace, seed: int) -> RunConfig:
        """The run of a seed, which validates at its beginning and its end."""
        steps = options.steps
        return make_preset(
            options.preset,
            [dataset],
            name=f"{options.preset}-{self.optimizer}",
            steps=steps,
            warmup_steps=max(1, steps // 10),
            eval_every=steps,
            checkpoint_every=steps,
            n_val=options.n_val,
            seed=seed,
            **({} if options.batch is None else {"global_batch": options.batch}),
            **self.settings,
        )


def main() -> int:
    options = read_arguments()
    dataset = load_data(options.data)
    ways = [
        Way(*choice)
        for choice in itertools.product(
            options.optimizers, options.averages, options.schedules, options.rates
        )
    ]
    print(f"{options.preset} on {dataset.path.name}, {options.steps} steps, seeds {options.seeds}")
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.out or scratch)
        for way in ways:
            configs = [way.make_config(dataset, options, seed) for seed in options.seeds]
            runs = [finish(config, folder) for config in configs]
            print(describe(way, runs), flush=True)
    return 0


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="nci", help="curated folder, or recipe to curate")
    parser.add_argument("--preset", default="laptop_0m25")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, help="molecules a step (default: the preset's)")
    parser.add_argument("--n-val", type=int, default=512)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[None], help="learning rates (the preset's)"
    )
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=list(OPTIMIZERS))
    parser.add_argument("--schedules", nargs="+", choices=SCHEDULES, default=list(SCHEDULES))
    parser.add_argument(
        "--averages", type=read_average, nargs="+", default=[None, 0.99], help="none or a decay"
    )
    parser.add_argument("--out", help="folder to keep the runs in")
    return parser.parse_args()


def read_average(text: str) -> float | None:
    """The decay of an average, or None."""
    return None if text.lower() == "none" else float(text)


def load_data(name: str) -> Shards:
    """A curated dataset, curated without labels where it is not there."""
    try:
        return load_shards(find_curated(name))
    except InputError:
        return curate(name, labels=False)


def finish(config: RunConfig, folder: Path) -> Run:
    """The run of a configuration, trained to its end in a process of its own."""
    run = prepare_run(config, folder / config.id)
    if run.state != "done":
        command = [sys.executable, "-m", "molnb", "train", str(run.path)]
        subprocess.run(command, check=True, capture_output=True)
    return run


COLUMNS = {
    "optimizer": 9,
    "average": 7,
    "schedule": 8,
    "rate": 8,
    "validation loss, hidden": 26,
    "seconds": 8,
    "CPU-s": 8,
    "peak MiB": 8,
}
HEADER = "  ".join(name.rjust(width) for name, width in COLUMNS.items())


def describe(way: Way, runs: Sequence[Run]) -> str:
    """The row of a way: its choices, and what its runs came to."""
    losses = [run.last("hidden")["loss"] for run in runs]
    status = [run.status() for run in runs]
    cells = [
        way.optimizer,
        "none" if way.average is None else f"{way.average:g}",
        way.schedule,
        f"{runs[0].config.learning_rate:.3g}",
        f"{mean(losses):.4f} ({min(losses):.4f} to {max(losses):.4f})",
        f"{mean(of_run['seconds'] for of_run in status):.1f}",
        f"{mean(of_run['cpu_seconds'] for of_run in status):.1f}",
        f"{max(of_run['peak_mib'] for of_run in status):.0f}",
    ]
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, COLUMNS.values()))


if __name__ == "__main__":
    sys.exit(main())
