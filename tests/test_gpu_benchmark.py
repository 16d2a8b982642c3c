"""`make gpu`: every row on a CPU, without RDKit; what fails or has no time costs itself alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from core_only import blocker
from made_shards import make_shards
from quick_processes import run_script

from molnb.errors import InputError
from molnb.shards import Shards

ROOT = Path(__file__).resolve().parents[1]
GPU = ROOT / "benchmarks" / "gpu.py"
GRAPH_ROWS = [
    *("graph-agree", "graph-150k", "graph-10m", "graph-minimol", "graph-resume"),
    "graph-10m-compiled",
]
OTHER_ROWS = [
    *("card", "agree", "0m1", "tests", "resume", "connected", "checkpoint-0m1"),
    *("0m1-compiled", "split-0m1", "reference"),
]
SMALLEST = "DEVICE=cpu SIZE=0m1 ATOMS=9 BATCH=4 STEPS=4".split()
# each is a process of its own for five seconds (`resume` six), to compile takes as long as all the
# rest; what `agree` says of wrong models, and graph networks that are resumed, are shown below
LATER = ["agree", "resume", "connected", "checkpoint-0m1", "0m1-compiled", "split-0m1"]
ALL = [pytest.param(False, id="some"), pytest.param(True, id="all", marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return make_shards(tmp_path_factory.mktemp("gpu") / "trees")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which only the core and pytest can be imported."""
    folder = tmp_path / "blocked"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(blocker("pytest"))
    return os.environ | {"PYTHONPATH": str(folder)}


def make_gpu(environment: dict[str, str], *variables: object) -> subprocess.CompletedProcess:
    """`make gpu` with these variables."""
    command = ["make", "gpu", f"PYTHON={sys.executable}", *map(str, variables)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)


def benchmark(*options: object) -> subprocess.CompletedProcess:
    """The script behind it, on a CPU."""
    return run_script(GPU, "--device", "cpu", "--size", "0m1", *options)


def read(out: Path) -> dict:
    return json.loads((out / "gpu.json").read_text())


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("every", ALL)
def test_every_row_runs_on_a_cpu_where_only_torch_and_its_few_companions_are(
    trees, tmp_path, environment, every
):
    out = tmp_path / "out"
    expected = [name for name in OTHER_ROWS if every or name not in LATER]
    row_option = [] if every else [f"ROWS={' '.join([*expected, 'graphs'])}"]
    process = make_gpu(environment, f"DATA={trees.path}", f"OUT={out}", *SMALLEST, *row_option)
    assert process.returncode == 0, process.stderr + process.stdout
    results = read(out)
    rows = results["rows"]
    states = {name: row["state"] for name, row in rows.items()}
    assert [name for name in states if name not in GRAPH_ROWS] == expected
    skipped = [name for name, state in states.items() if state == "skipped"]
    assert sorted(skipped) == sorted(["tests", "reference", *GRAPH_ROWS]), (
        "those alone, for want of a GPU, of checkouts and of torch_geometric"
    )
    assert all("torch_geometric is not installed" in rows[name]["reason"] for name in GRAPH_ROWS)
    assert {state for name, state in states.items() if name not in skipped} == {"passed"}
    assert "this is a CPU" in rows["tests"]["reason"] or "pytest" in rows["tests"]["reason"]
    assert "no checkouts" in rows["reference"]["reason"]
    assert rows["card"]["flops"].keys() == {"float32", "tf32", "bfloat16"}
    for name in {"0m1", "0m1-compiled"} & set(rows):
        speed = rows[name]["batch"] / rows[name]["step_seconds"]
        assert rows[name]["molecules_a_second"] == pytest.approx(speed)
        assert 0 < rows[name]["share_of_card"] < 1
    assert rows["0m1"]["losses"][-1] < rows["0m1"]["losses"][0]
    if every:
        assert rows["resume"]["same_bits"] and rows["resume"]["stopped_at"] == 2
        assert len(set(rows["resume"]["losses_of_seeds"])) == 3
        for model in rows["agree"]["models"].values():
            assert 0 < model["device"]["gradients"] < rows["agree"]["limits"]["gradients"]
            assert model["bfloat16"]["gradients"] > 10 * model["device"]["gradients"]
        assert rows["connected"]["ratio"] > 0.5 and rows["checkpoint-0m1"]["bytes"] > 0
        # parameters, gradients and two moments in float32
        assert rows["split-0m1"]["kept_gib"] * 2**30 > 16 * 200_000
    page = (out / "gpu.md").read_text()
    assert all(f"| {name} |" in page for name in rows)
    table = [line for line in page.splitlines() if line.startswith("|")]
    headings = [i for i, line in enumerate(table) if set(line) == set("|-")]
    for start, end in zip(headings, [*(i - 1 for i in headings[1:]), len(table)]):
        assert {line.count("|") for line in table[start:end]} == {table[start].count("|")}
    assert not (out / "tmp").exists(), "runs are deleted where nothing failed"


@pytest.mark.skipif(not find_spec("torch_geometric"), reason="there is no torch_geometric")
@pytest.mark.parametrize("compiled", ALL)
def test_the_rows_of_graph_networks_run_on_a_cpu(parts, trees, tmp_path, compiled):
    """In this process, but for what checks of shapes, which are around all here, cannot compile."""
    setting = make_setting(trees, atoms=9)._replace(scratch=tmp_path)
    all_rows = parts["rows"].make_rows(["0m1"])
    graph_rows = parts["rows"].choose_rows(all_rows, ["graphs"], ["0m1"])
    assert sorted(row.name for row in graph_rows) == sorted(GRAPH_ROWS)
    last = graph_rows[-1]
    rows = {row.name: parts["gpu"].outcome(row, setting) for row in graph_rows[:-1]}
    if compiled:
        result = tmp_path / "compiled.json"
        sizes = ("--atoms", 9, "--batch", 4, "--steps", 4)
        one_row = ("--data", trees.path, "--out", tmp_path, "--row", last.name, "--result", result)
        assert benchmark(*one_row, *sizes).returncode == 0
        rows[last.name] = json.loads(result.read_text())
        assert rows[last.name]["steps"].keys() == {"bfloat16"}
    assert {row["state"] for row in rows.values()} == {"passed"}
    for network in rows["graph-agree"]["models"].values():
        assert 0 < network["device"]["gradients"] < rows["graph-agree"]["limits"]["gradients"]
        assert network["bfloat16"]["gradients"] > 10 * network["device"]["gradients"]
    assert rows["graph-resume"]["same_bits"] and rows["graph-resume"]["precision"] == "float32"
    for name in ("graph-150k", "graph-10m", "graph-minimol"):
        assert rows[name]["steps"].keys() == {"float32", "bfloat16"}
        for steps in rows[name]["steps"].values():
            assert steps["molecules_a_second"] == pytest.approx(4 / steps["seconds"])
            assert steps["losses"][-1] < steps["losses"][0]


def test_a_row_that_fails_or_has_no_time_is_named_and_the_others_run(trees, tmp_path):
    process = benchmark(
        *("--data", trees.path, "--out", tmp_path, "--atoms", 1000, "--rows", "0m1", "card")
    )
    assert process.returncode == 1, process.stderr
    rows = read(tmp_path)["rows"]
    assert list(rows) == ["card", "0m1"]
    assert rows["0m1"]["state"] == "failed"
    assert "no molecule of 1000 heavy atoms: choose --atoms from 3" in rows["0m1"]["reason"]
    assert rows["card"]["state"] == "passed"
    assert re.search(r"^0m1 +failed .* no molecule of 1000", process.stdout, re.MULTILINE)
    assert "Traceback" in (tmp_path / "0m1.log").read_text()

    # of what is measured again there is no time for a row of a model, not even for one that fails
    options = ("--data", trees.path, "--out", tmp_path, "--seconds", 20)
    assert benchmark(*options, "--rows", "card", "sizes").returncode == 0
    rows = read(tmp_path)["rows"]
    assert rows["card"]["state"] == "passed"
    for name in ("0m1", "0m1-compiled"):
        assert rows[name]["state"] == "skipped"
        assert re.fullmatch(r"it may take \d+ s, and \d+ s are left", rows[name]["reason"])
    earlier = [file for file in tmp_path.glob("gpu-*.json") if "no molecule" in file.read_text()]
    assert len(earlier) == 1, "earlier results are kept under another name"


def test_without_data_it_is_said_how_to_make_some(tmp_path, monkeypatch):
    monkeypatch.setenv("MOLNB_HOME", str(tmp_path))
    process = benchmark()
    assert process.returncode == 2 and process.stderr.count("\n") == 1
    assert "`molnb curate wehi --n 2000` makes one (5 MB" in process.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_is_refused_in_one_line(trees):
    process = run_script(GPU, "--data", trees.path)
    assert process.returncode == 2 and process.stderr.count("\n") == 1
    assert "sees no GPU" in process.stderr


# ---------------------------------------------------------------------------------------- its parts


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The modules of the benchmark."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu
    import gpu_agreement
    import gpu_graphs
    import gpu_rows
    import gpu_runs
    import gpu_speed

    return {
        "gpu": gpu,
        "agreement": gpu_agreement,
        "graphs": gpu_graphs,
        "rows": gpu_rows,
        "runs": gpu_runs,
        "speed": gpu_speed,
    }


def test_all_rows_fit_into_fifteen_minutes_in_the_order_of_their_worth(parts):
    sizes = ["42m", "84m", "164m", "310m", "570m", "1100m"]
    rows = parts["rows"].make_rows(sizes)
    assert sum(row.seconds for row in rows) < 900
    names = [row.name for row in rows]
    assert names[:3] == ["card", "agree", "84m"]
    assert names[-4:] == ["split-570m", "split-1100m", "checkpoint-1100m", "reference"]
    assert len(set(names)) == len(names)
    chosen = parts["rows"].choose_rows(rows, ["sizes", "card"], sizes)
    assert {row.name for row in chosen} == {"card", *sizes, "84m-compiled"}
    graphs = parts["rows"].choose_rows(rows, ["graphs"], sizes)
    assert {row.name for row in graphs} == set(GRAPH_ROWS)
    with pytest.raises(InputError, match="unknown row 'resum' .did you mean 'resume'"):
        parts["rows"].choose_rows(rows, ["resum"], sizes)


def test_a_process_that_takes_too_long_is_ended_with_its_children(parts, tmp_path):
    """The child would write its file two seconds later."""
    late = tmp_path / "late"
    child = f"import time; time.sleep(2); open({str(late)!r}, 'w')"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with (tmp_path / "log").open("w") as log:
        ended = parts["gpu"].run_process([sys.executable, "-c", code], log, 0.5, str(tmp_path))
        assert ended is None
        killed = "import os, signal; print('so far'); os.kill(os.getpid(), signal.SIGKILL)"
        code = parts["gpu"].run_process([sys.executable, "-uc", killed], log, 60, str(tmp_path))
    assert code == -9 and parts["gpu"].last_line(tmp_path / "log") == "so far"
    time.sleep(2.5)
    assert not late.exists()


def test_failed_tests_are_named_with_their_message(parts, tmp_path):
    (tmp_path / "test_two.py").write_text(
        "def test_right():\n    pass\n\ndef test_wrong():\n    assert 1 == 2, 'not equal'\n"
    )
    result = parts["runs"].run_tests(tmp_path, tmp_path / "scratch", [])
    assert not result["ok"] and result["failed"] == ["test_wrong"]
    assert result["passed"] == ["test_right"] and "not equal" in result["reasons"]["test_wrong"]
    assert result["line"] == "1 passed, 1 failed, 0 skipped: test_wrong"
    nothing = parts["runs"].run_tests(tmp_path, tmp_path / "scratch", ["-k", "absent"])
    assert not nothing["ok"], "no test at all is no success"


def test_a_batch_that_does_not_fit_is_halved_until_one_does(parts, trees, capsys):
    from molnb.data.dataset import Corpus

    speed = parts["speed"]
    tried = []

    def make_step(masked):
        tried.append(masked.batch.n_mol)
        if masked.batch.n_mol > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore")
        return lambda: torch.zeros(())

    setting = make_setting(trees, atoms=9)
    measured = speed.time_batches(setting, Corpus([trees]), make_step, 12, few=True)
    assert tried == [12, 6, 3] and measured.batch == 3 and len(measured.losses) == 4
    assert "12 molecules do not fit: CUDA out of memory" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="another"):
        speed.time_batches(setting, Corpus([trees]), failing_step, 4, few=True)


def failing_step(masked):
    raise RuntimeError("another error")


def make_setting(trees: Shards, atoms: int, device: str = "cpu", batch: int = 4):
    from gpu_setting import Setting

    scratch = trees.path / "tmp"
    return Setting(trees.path, scratch, torch.device(device), atoms, batch, 4, None, None)


def test_speed_on_a_gpu_is_told_with_memory_padding_and_the_batch_that_fits(parts, trees):
    """A step of 64 in half a second, 1 GiB for the weights and 32 MiB a molecule."""
    speed = parts["speed"]
    from gpu_table import page

    measured = speed.Measured(64, 9.0, 0.5, 3.0, [3.0, 2.5])
    half = speed.Measured(32, 1.0, 0.3, 2.0, [3.0, 2.5])
    setting = make_setting(trees, atoms=25, device="cuda", batch=128)
    config = speed.SIZES["84m"]
    result = speed.describe_speed(setting, config, measured, half, rate=8e14)
    assert result["molecules_a_second"] == 128
    assert result["gib_a_molecule"] == 1 / 32 and result["padded_nodes"] == 6 / 32
    assert result["share_of_card"] == pytest.approx(128 * 63.05e9 / 8e14, rel=1e-3)
    assert result["line"] == (
        "batch 64 (128 do not fit): 128.0 molecules/s, 1.0% of the card, peak 3.0 GiB, 32 MiB a "
        "molecule; losses 3.000 to 2.500"
    )
    rows = {"84m": result | {"state": "passed", "seconds": 20.0}}
    about = {"date": "2026-11-27", "torch": "2", "molnb": {"commit": None, "version": "0"}}
    about |= {"data": "data/wehi", "seconds": 20.0, "budget_seconds": 480, "rows": rows}
    assert page(about)[-1] == "| 84m | 64 | 128.0 | 8.1 | 1.0% | 3.0 | 32 | 19% | 9.0 |"


@pytest.mark.parametrize("defect", ["divisor", "tf32"])
def test_a_wrong_divisor_and_rounded_products_would_fail_the_agreement(
    parts, trees, monkeypatch, defect
):
    """Products are rounded to the ten bits of TF32's factors, as a GPU would with TF32 on."""
    agreement = parts["agreement"]
    monkeypatch.setattr(agreement, "MODELS", {"tiny": agreement.MODELS["tiny"]})
    as_it_is = agreement.as_on_a_gpu

    def spoilt(model):
        model = as_it_is(model)
        if defect == "divisor":
            layout_of = model.encoder.make_layout

            def make_layout(inputs):
                layout = layout_of(inputs)
                padded = torch.full_like(layout.length, layout.groups[0].n_node)
                return layout._replace(length=padded)

            model.encoder.make_layout = make_layout
        else:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.copy_(rounded(parameter))
        return model

    monkeypatch.setattr(agreement, "as_on_a_gpu", spoilt)
    result = agreement.agree(make_setting(trees, atoms=9))
    assert not result["ok"]
    tiny = result["models"]["tiny"]
    assert tiny["device"]["gradients"] > result["limits"]["gradients"] > tiny["cpu"]["gradients"]


def rounded(values: torch.Tensor) -> torch.Tensor:
    """Float32 with ten bits of mantissa."""
    bits = values.detach().numpy().view(np.int32)
    return torch.from_numpy(((bits + (1 << 12)) & ~((1 << 13) - 1)).view(np.float32))


@pytest.mark.skipif(not find_spec("torch_geometric"), reason="there is no torch_geometric")
@pytest.mark.parametrize("defect", ["sum", "tf32"])
def test_a_wrong_sum_and_rounded_products_would_fail_the_agreement_of_graph_networks(
    parts, trees, monkeypatch, defect
):
    """Of the device alone, which is told by the opposite order of its molecules."""
    graphs = parts["graphs"]
    monkeypatch.setattr(graphs, "COMPARED", {"gine": graphs.COMPARED["gine"]})
    answers = graphs.answers

    def spoilt(config, corpus, ids, device, narrow=False):
        if corpus.n_atoms[ids[0]] <= corpus.n_atoms[ids[-1]]:
            return answers(config, corpus, ids, device, narrow)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(graphs, "shaken", partial(with_defect, defect, graphs.shaken))
            return answers(config, corpus, ids, device, narrow)

    monkeypatch.setattr(graphs, "answers", spoilt)
    result = graphs.agree_of_graphs(make_setting(trees, atoms=9))
    assert not result["ok"]
    assert result["models"]["gine"]["device"]["gradients"] > result["limits"]["gradients"]


def with_defect(defect, shaken, model):
    """The model with rounded weights, or the first atom counted twice in sums over neighbours."""
    model = shaken(model)
    if defect == "tf32":
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(rounded(parameter))
    else:
        layer = model.encoder.blocks[0].layer
        propagate = layer.propagate

        def twice(*arguments, **named):
            summed = propagate(*arguments, **named)
            return torch.cat([2 * summed[:1], summed[1:]])

        layer.propagate = twice
    return model
