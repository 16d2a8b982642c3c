"""The benchmarks run without a GPU and the authors' code, and refuse what they cannot do."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from quick_processes import run_script

ROOT = Path(__file__).resolve().parents[1]

TOY = {
    "molnb/__init__.py": "",
    "molnb/errors.py": "class InputError(Exception):\n    pass\n",
    "molnb/data/__init__.py": '"""Data."""\n',
    "molnb/data/batch.py": """
from ..errors import InputError
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from . import loader

def pad(n):
    '''The number padded.'''
    from . import loader
    a, b = n, 1
    found = a + b
    return found

def _hidden(kept):
    return kept
""",
    "molnb/data/loader.py": """
from . import batch

class Loader:
    def read(self):
        pass
""",
}


@pytest.fixture(autouse=True)
def of_this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a script starts import molnb from here."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def run(script: str, *args: object) -> subprocess.CompletedProcess:
    return run_script(ROOT / "benchmarks" / script, *args)


@pytest.mark.slow
def test_steps_and_loader_are_timed_without_the_reference(nci):
    options = "--size 0m1 --tasks step forward subnormal loader --rounds 1 --repeats 1 --threads 1"
    process = run("two_track.py", "--data", nci.path, *options.split())
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("ours") == 3
    assert re.search(r"subnormal ours +0 numbers in the [\d,]{4,} float32", process.stdout)
    assert "molecules/s on one core" in process.stdout


@pytest.mark.parametrize(
    ("script", "args", "message"),
    [
        ("two_track.py", ["--reference", "here"], "give both --reference and --core"),
        ("two_track.py", ["--reference", "here", "--core", "there"], "is no checkout of Uni-Mol"),
        (
            "gpu_family.py",
            ["--data", "here", "--out", "there", "--steps", "12"],
            "--steps is 12: give 100 or more",
        ),
        ("gpu.py", ["--rows", "agre", "--device", "cpu"], "(did you mean 'agree'?)"),
        ("gpu.py", ["--core", "there", "--device", "cpu"], "give both --reference and --core"),
        ("gpu.py", ["--batch", "1", "--device", "cpu"], "--batch is 1: give 2 or more"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(nci, script, args, message):
    process = run(script, "--data", nci.path, "--size", "0m1", *args)
    assert process.returncode == 2 and message in process.stderr
    assert "Traceback" not in process.stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc, as on Linux")
@pytest.mark.slow
def test_memory_is_told_for_each_number_of_molecules(nci):
    options = "--molecules 100 200 --objectives labels --rounds 1"
    process = run("memory.py", "--data", nci.path, *options.split())
    assert process.returncode == 0, process.stderr
    peaks = re.findall(r"molecules: +([\d.]+) MiB, +([\d.]+) without mapped", process.stdout)
    assert len(peaks) == 2 and "a molecule more" in process.stdout
    for resident, anonymous in peaks:
        assert float(resident) > float(anonymous) > 50  # torch and a model


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A checkout of a package of five modules."""
    for name, text in TOY.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def sections(checkout: Path) -> dict[str, str]:
    """What `structure.py` prints of a checkout, by the title of the line."""
    process = run("structure.py", checkout)
    assert process.returncode == 0, process.stderr
    return dict(re.split(r"  +", line, maxsplit=1) for line in process.stdout.splitlines())


def test_the_shape_of_this_checkout_has_every_section():
    shape = sections(ROOT)
    titles = "modules,lines,statements,functions,vague names,assignments,docstrings,imports"
    assert list(shape) == titles.split(",")
    assert "training" in shape["modules"] and "longest chain" in shape["imports"]


def test_the_shape_of_a_small_package_is_counted_right(toy):
    assert sections(toy) == {
        "modules": "5: data 3, root 2",
        "lines": "0 of 24 (0.0%) over 100 columns",
        "statements": "19",
        "functions": "3: median 2 lines, longest 6 (pad)",
        "vague names": "2 of 3 (66.7%) functions: found 1, kept 1",
        "assignments": "1 of 2 (50.0%) parallel tuples",
        "docstrings": "1 of 2 (50.0%) public functions",
        "imports": "longest chain of 3: molnb.data.loader > molnb.data.batch > molnb.errors",
    }


def test_imports_in_a_circle_are_shown(toy):
    (toy / "molnb" / "errors.py").write_text("import molnb.data.loader\n")
    imports = sections(toy)["imports"]
    assert imports.startswith("circle of") and "molnb.errors > molnb.data.loader" in imports


def test_a_folder_without_the_package_is_refused(tmp_path):
    process = run("structure.py", tmp_path)
    assert process.returncode == 2 and "holds no package molnb" in process.stderr


def test_a_wheel_that_is_not_there_is_refused_before_anything_is_installed(tmp_path):
    process = run("install.py", "--wheel", tmp_path / "gone.whl")
    assert process.returncode == 2 and "leave --wheel out to build one" in process.stderr
    assert process.stdout == ""


def test_conservation_counts_what_is_kept_and_dropped_and_finds_what_is_changed(
    tmp_path: Path,
) -> None:
    pytest.importorskip("rdkit")
    rows = ["CCO", "[Na+].CC(=O)[O-]", "C1CC", "[Zn+2].CC([O-])=O.CC([O-])=O", "c1ccccc1.CCO"]
    (tmp_path / "mine.smi").write_text("\n".join(rows) + "\n")
    script = ROOT / "benchmarks" / "conservation.py"
    done = run_script(script, tmp_path / "mine.smi")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 rows,") and "2  kept" in done.stdout
    reasons = ["unreadable structure", "organometallic or metal complex", "two organic parents"]
    for reason in reasons:
        assert f"1  {reason}" in done.stdout
    sys.path.insert(0, str(script.parent))
    try:
        from conservation import is_conserved
    finally:
        sys.path.remove(str(script.parent))
    from molnb.chemistry.parsing import parse_smiles
    from molnb.chemistry.standardization import standardize

    ethanol = standardize(parse_smiles("CCO"))
    assert is_conserved("CCO", ethanol)
    assert not is_conserved("CC=O", ethanol), "two hydrogens more"
    assert not is_conserved("CCCO", ethanol), "a carbon less"
    assert not is_conserved("CCO.O", ethanol), "a fragment that nobody counted"


@pytest.mark.slow
def test_a_lesson_is_timed_alone_and_beside_others() -> None:
    process = run("beside.py", "--size", "test", "--rounds", 1, "--jobs", 1)
    assert process.returncode == 0, process.stderr
    lines = re.findall(r"(alone|beside 1 busy jobs|two at once, each) +([\d.]+) s", process.stdout)
    assert len(lines) == 3 and all(float(seconds) > 1 for _, seconds in lines)
    assert "1.00 times as long as alone" in process.stdout


def test_coverage_of_intervals_of_laws_is_told_for_each_kind_of_noise():
    rows = ["independent", "one seed, autocorrelated"]
    process = run("law_coverage.py", "--tables", 3, "--draws", 20, "--rows", *rows)
    assert process.returncode in (0, 1), process.stderr  # of three tables all intervals may hold
    lines = process.stdout.splitlines()
    assert [line[:26].strip() for line in lines] == rows
    assert all(re.search(r"a \d+\.\d% .*new run", line) for line in lines)
