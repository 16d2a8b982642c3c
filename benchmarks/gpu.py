r"""Everything that only a GPU can tell, in one command of at most fifteen minutes: `make gpu`.

    make gpu DATA=data/wehi-6afa17f3-n2000               all rows
    make gpu ROWS="agree sizes" OUT=/tmp/gpu             some of them
    make gpu REFERENCE=Uni-Mol CORE=Uni-Core             beside the authors' model
    make gpu DEVICE=cpu SIZE=0m1 BATCH=8 STEPS=8         the same rows on a CPU, for tests

It needs a Python with torch, numpy, pyarrow and safetensors, no installation and no network; rows
of graph networks (ROWS=graphs) need torch-geometric too, and are skipped without it. Each row
(`gpu_rows.py`) runs in a process of its own: a crash, a batch that does not fit, or an end of its
time costs that row and no other. `gpu.json` is written anew after every row, whole or not at all,
and beside it `gpu.md`, a table for `benchmarks/README.md`; what a row printed is in its log. Rows
have seconds that sum up to less than --seconds; a row may also use what earlier ones left, and is
skipped, by name, where its own do not fit into what is left.

Exit codes: 0 all rows that ran are as they must be, 1 one is not, 2 refused.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

import gpu_rows
import gpu_table
import torch
from gpu_rows import Row
from gpu_setting import Setting, Skipped
from two_track import SIZES

import molnb
from molnb.errors import InputError
from molnb.files import check_folder, write_json
from molnb.models.unimol2.sizes import PAPER
from molnb.paths import MANIFEST, find_data, home
from molnb.training.device import choose_device

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 900
RESULTS = "gpu.json"
HOW_TO_CURATE = (
    "where RDKit is, `molnb curate wehi --n 2000` makes one (5 MB, half a minute on two cores)"
)


def main() -> int:
    args = read_arguments()
    if args.row:
        return measure_row(args)
    began = time.monotonic()
    rows = gpu_rows.make_rows(args.size)
    chosen = gpu_rows.choose_rows(rows, args.rows, args.size)
    gpu_rows.check_reference(args.reference, args.core)
    choose_device(args.device)
    args.data = str(find_data(args.data) if args.data else newest_data())
    args.out = check_folder(args.out)
    args.out.mkdir(parents=True, exist_ok=True)
    keep_earlier(args.out)
    return measure_all(args, chosen, began)


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--data", help="curated dataset, a folder or its name (default: the newest wehi)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(os.environ.get("OUT") or home() / "runs" / "gpu"),
        help="folder of gpu.json, gpu.md and logs (default: $OUT, or runs/gpu)",
    )
    parser.add_argument("--rows", nargs="+", default=[], help="rows to measure (default: all)")
    parser.add_argument("--size", nargs="+", default=list(PAPER), choices=list(SIZES))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all rows together")
    parser.add_argument("--device", default="cuda", help="cuda (default), cuda:0, ..., or cpu")
    parser.add_argument("--atoms", type=int, default=25, help="heavy atoms of timed molecules")
    parser.add_argument("--batch", type=int, default=128, help="molecules of a timed step")
    parser.add_argument("--steps", type=int, default=60, help="of each run that is resumed")
    parser.add_argument("--reference", type=Path, metavar="UNI_MOL", help="checkout of Uni-Mol")
    parser.add_argument("--core", type=Path, metavar="UNI_CORE", help="checkout of Uni-Core")
    parser.add_argument("--row", help=argparse.SUPPRESS)  # in the process of a row
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    for name in ("atoms", "batch", "steps"):
        if getattr(args, name) < 2:
            raise InputError(f"--{name} is {getattr(args, name)}: give 2 or more")
    return args


def newest_data() -> Path:
    """The folder of `wehi` curated last; raises InputError with how to make one."""
    folder = home() / "data"
    manifests = sorted(folder.glob(f"wehi-*/{MANIFEST}"), key=lambda file: file.stat().st_mtime)
    if not manifests:
        raise InputError(f"no wehi-* in {folder}: name a dataset (DATA=folder); {HOW_TO_CURATE}")
    return manifests[-1].parent


def keep_earlier(out: Path) -> None:
    """Give earlier results in the folder a name of their own, after the time they began."""
    file = out / RESULTS
    if not file.exists():
        return
    began = datetime.datetime.fromtimestamp(file.stat().st_mtime)
    for ending in (".json", ".md"):
        with contextlib.suppress(FileNotFoundError):
            before = file.with_suffix(ending)
            before.rename(out / f"gpu-{began:%Y%m%d-%H%M%S}{ending}")


# ------------------------------------------------------------------------------------- all rows


def measure_all(args: argparse.Namespace, rows: list[Row], began: float) -> int:
    """Measure the rows one after another, writing all that is known after each."""
    results = {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        "molnb": {"version": molnb.__version__, "commit": commit()},
        "torch": torch.__version__,
        "data": args.data,
        "budget_seconds": args.seconds,
        "seconds": 0.0,
        "rows": {},
    }
    with tempfile.TemporaryDirectory(prefix="molnb-") as cache:
        for number, row in enumerate(rows):
            left = args.seconds - (time.monotonic() - began)
            later = sum(other.seconds for other in rows[number + 1 :])
            results["rows"][row.name] = measure_in_process(args, row, left, later, cache)
            results["seconds"] = round(time.monotonic() - began, 1)
            write_json(results, args.out / RESULTS)
            gpu_table.write_page(results, args.out / "gpu.md")
            print(gpu_table.line(row.name, results["rows"][row.name]), flush=True)
    states = [result["state"] for result in results["rows"].values()]
    if "failed" not in states:  # else there may be something to look at
        shutil.rmtree(args.out / "tmp", ignore_errors=True)
    print(f"{results['seconds']:.0f} s; {args.out / RESULTS}, {args.out / 'gpu.md'}")
    return int("failed" in states)


def measure_in_process(
    args: argparse.Namespace, row: Row, left: float, later: float, cache: str
) -> dict[str, Any]:
    """A row measured by a process of its own, within its time and what earlier rows have left."""
    reason = None
    try:
        row.needs(make_setting(args))
    except Skipped as missing:
        reason = str(missing)
    if reason is None and row.seconds > left:
        reason = f"it may take {row.seconds:g} s, and {max(left, 0):.0f} s are left"
    if reason is not None:
        return {"state": "skipped", "reason": reason, "seconds": 0.0}
    limit = max(row.seconds, left - later)
    result_file = Path(cache) / f"{row.name}.json"
    log = args.out / f"{row.name}.log"
    began = time.monotonic()
    with log.open("w", encoding="utf-8") as output:
        code = run_process(command_of(args, row, result_file), output, limit, cache)
    seconds = round(time.monotonic() - began, 1)
    if result_file.exists():
        result = json.loads(result_file.read_text(encoding="utf-8"))
    elif code is None:
        result = {"state": "failed", "reason": f"out of time after {limit:.0f} s; see {log.name}"}
    else:
        reason = f"its process ended with {code}: {last_line(log)}"
        result = {"state": "failed", "reason": reason}
    return result | {"seconds": seconds, "budget_seconds": row.seconds}


def command_of(args: argparse.Namespace, row: Row, result_file: Path) -> list[str]:
    """The command that measures a row: this script with the same options."""
    options: dict[str, Any] = {
        name: getattr(args, name) for name in ("data", "out", "device", "atoms", "batch", "steps")
    }
    options |= {"row": row.name, "result": result_file}
    if args.reference:
        options |= {"reference": args.reference, "core": args.core}
    command = [sys.executable, __file__, "--size", *args.size]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    return command


def run_process(command: list[str], output: Any, limit: float, cache: str) -> int | None:
    """The exit code of a command; None where it was ended, with all its children, at the limit."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).strip(":;"),
        "TORCHINDUCTOR_CACHE_DIR": f"{cache}/inductor",
        "TRITON_CACHE_DIR": f"{cache}/triton",
    }
    process = subprocess.Popen(
        command,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # children too, also where this process is interrupted
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def last_line(log: Path) -> str:
    """The last line of a log that holds anything."""
    lines = [
        line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line
    ]
    return lines[-1].strip()[:300] if lines else "it said nothing"


def commit() -> str | None:
    """The commit of this checkout, with a plus where files differ; None where git cannot tell."""
    try:
        top, head, changes = (
            subprocess.run(
                ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=20
            ).stdout.strip()
            for words in (
                ["rev-parse", "--show-toplevel"],
                ["rev-parse", "--short=12", "HEAD"],
                ["status", "--porcelain"],
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    if Path(top).resolve() != ROOT:
        return None
    return head + ("+" if changes else "")


# ------------------------------------------------------------------------- in the process of a row


def measure_row(args: argparse.Namespace) -> int:
    """Measure one row and leave its result in a file."""
    (row,) = gpu_rows.choose_rows(gpu_rows.make_rows(args.size), [args.row], args.size)
    write_json(outcome(row, make_setting(args)), args.result)
    return 0


def make_setting(args: argparse.Namespace) -> Setting:
    """What the command line says of all rows."""
    return Setting(
        data=Path(args.data),
        scratch=args.out / "tmp",
        device=choose_device(args.device),
        atoms=args.atoms,
        batch=args.batch,
        steps=args.steps,
        reference=args.reference,
        core=args.core,
    )


def outcome(row: Row, setting: Setting) -> dict[str, Any]:
    """What a row gives, with its state: passed, failed or skipped."""
    try:
        values = row.measure(setting)
    except Skipped as reason:
        return {"state": "skipped", "reason": str(reason)}
    except Exception as error:
        traceback.print_exc()
        text = str(error).strip() or "no message"
        return {
            "state": "failed",
            "reason": f"{type(error).__name__}: {text.splitlines()[0][:300]}",
        }
    return {"state": "passed" if values.pop("ok") else "failed", **values}


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
