"""Prints what an installation of the wheel costs: sizes, and seconds to the first figure.

    python benchmarks/install.py                  builds the wheel of this checkout
    python benchmarks/install.py --kinds core     the environment of a machine that trains, alone

For each kind a new virtual environment is made, and timed from there on: pip installs torch, then
the wheel (core) or the wheel with its extra `all` (full), in the versions of constraints.txt and
without pip's cache, so that downloads count. Then `molnb presets` runs in the core; in the full
environment a lesson at size test, in an empty folder, until its executed copy is on disk, which
must hold a plotly figure. Sizes are those of the files below site-packages, compiled ones too,
without pip itself. The default torch for Linux is one for CUDA: `--torch-index
https://download.pytorch.org/whl/cpu` takes the one without.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
EXTRAS = {"core": "", "full": "[all]"}
FIGURE = "application/vnd.plotly.v1+json"
MEGABYTE = 1e6


class Installation(NamedTuple):
    """An environment, and the seconds that pip took for torch and for the wheel."""

    python: Path
    torch_seconds: float
    wheel_seconds: float


def build_wheel(folder: Path) -> Path:
    """The wheel of this checkout, in a folder."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", folder]
    run(command, ROOT)
    (wheel,) = folder.glob("*.whl")
    return wheel


def run(command: list, folder: Path) -> float:
    """Seconds that a command took in a folder; ends the script with its messages if it fails."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("PYTHON", "MOLNB"))}
    start = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        line = " ".join(map(str, command))
        sys.exit(
            f"{line} failed with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return time.monotonic() - start


def install(wheel: Path, extras: str, folder: Path, torch_index: str | None) -> Installation:
    """A new environment below a folder that has torch and then the wheel with extras."""
    environment = folder / "environment"
    run([sys.executable, "-m", "venv", environment], folder)
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir", "install"]
    pip += ["--constraint", CONSTRAINTS]
    # Named with its version: where a torch without CUDA lies in pip's own index, this takes it.
    torch = re.search(r"^torch==\S+", CONSTRAINTS.read_text(encoding="utf-8"), flags=re.M)[0]
    source = ["--no-deps", "--index-url", torch_index] if torch_index else []
    torch_seconds = run([*pip, torch, *source], folder)
    return Installation(python, torch_seconds, run([*pip, f"{wheel}{extras}"], folder))


def package_sizes(python: Path) -> dict[str, int]:
    """Bytes of each folder or file in site-packages of an environment, pip's apart."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    sizes = {}
    for path in Path(done.stdout.strip()).iterdir():
        if not re.match(r"pip\b", path.name):
            files = path.rglob("*") if path.is_dir() else [path]
            sizes[path.name] = sum(file.lstat().st_size for file in files if file.is_file())
    return sizes


def describe(kind: str, installation: Installation) -> str:
    """Size of an environment, its largest packages, and how long pip took, in two lines."""
    sizes = package_sizes(installation.python)
    n_package = sum(name.endswith(".dist-info") for name in sizes)
    largest = sorted(sizes, key=sizes.get, reverse=True)[:6]
    shares = ", ".join(f"{name} {sizes[name] / MEGABYTE:,.0f}" for name in largest)
    return (
        f"{kind}: {sum(sizes.values()) / MEGABYTE:,.0f} MB in {n_package} packages ({shares})\n"
        f"{kind}: pip took {installation.torch_seconds:.0f} s for torch, "
        f"{installation.wheel_seconds:.0f} s for the wheel and the rest"
    )


def time_lesson(python: Path, lesson: str, folder: Path) -> float:
    """Seconds of a lesson at size test until its executed copy, with a figure in it, is there."""
    copy = folder / "executed.ipynb"
    options = ["-p", "size", "test", "--out", copy]
    seconds = run([python, "-m", "molnb", "run", lesson, *options], folder)
    if FIGURE not in copy.read_text(encoding="utf-8"):
        sys.exit(f"{lesson} shows no plotly figure at size test: choose another --lesson")
    return seconds


def measure(kind: str, wheel: Path, arguments: argparse.Namespace, folder: Path) -> None:
    """Install one kind and print its size and times."""
    installation = install(wheel, EXTRAS[kind], folder, arguments.torch_index)
    print(describe(kind, installation), flush=True)
    work = folder / "work"
    work.mkdir()
    pip_seconds = installation.torch_seconds + installation.wheel_seconds
    if kind == "core":
        seconds = run([installation.python, "-m", "molnb", "presets"], work)
        print(f"core: {seconds:.1f} s more for `molnb presets`")
        return
    seconds = time_lesson(installation.python, arguments.lesson, work)
    print(f"full: {seconds:.0f} s more for {arguments.lesson} at size test, figures included")
    print(f"full: {pip_seconds + seconds:.0f} s from pip install to the first figures")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kinds", nargs="+", choices=EXTRAS, default=list(EXTRAS))
    parser.add_argument("--wheel", type=Path, help="an existing wheel instead of a new one")
    parser.add_argument("--lesson", default="00_tour", help="default: %(default)s")
    parser.add_argument("--torch-index", metavar="URL", help="where torch comes from")
    arguments = parser.parse_args()
    if arguments.wheel is not None and not arguments.wheel.is_file():
        parser.error(f"there is no wheel {arguments.wheel}: leave --wheel out to build one")
    print(f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} CPUs")
    with tempfile.TemporaryDirectory(prefix="molnb-install-") as name:
        wheel = arguments.wheel or build_wheel(Path(name))
        wheel = wheel.resolve()
        print(f"wheel: {wheel.name}, {wheel.stat().st_size / MEGABYTE:.2f} MB", flush=True)
        for kind in arguments.kinds:
            folder = Path(name, kind)
            folder.mkdir()
            measure(kind, wheel, arguments, folder)


if __name__ == "__main__":
    main()
