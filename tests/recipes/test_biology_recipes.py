"""Sets of biology and ADMET curate by name, from files in the layouts that are handed out."""

from __future__ import annotations

import http.server
import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import biology_layouts as layouts
import pyarrow.parquet as pq
import pytest
from biology_layouts import FILTERED, LAYOUTS, Layout
from read_accounts import read_account, values

from molnb.curation.pipeline import curate
from molnb.errors import InputError
from molnb.recipes.registry import list_recipes, load_recipe, make_recipe
from molnb.recipes.schema import Recipe
from molnb.shards import Shards

# Real files, where they are at hand: no part of the project.
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
NAMES = sorted({layout.recipe for layout in [*LAYOUTS, *FILTERED]})
# Published splits list rows of a whole file: on a few rows they are tested by themselves.
PUBLISHED = ("shuffle", "file", "column")  # of all rows of a set; here are a few
real = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real files")


class _Handler(http.server.BaseHTTPRequestHandler):
    files: dict[str, bytes] = {}

    def do_GET(self) -> None:
        content = self.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that hands out what tests put into `_Handler.files`."""
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def served(recipe: Recipe, address: str, file: str, content: bytes, **source: object) -> Recipe:
    """A recipe that fetches a small file, under the name that the real one has."""
    _Handler.files[f"/{file}"] = content
    described = recipe.model_dump()
    kept = {"format": described["source"]["format"]} | source
    described["source"] = {"kind": "url", "url": f"{address}/{file}", **kept}
    splits = described["splits"]
    described["splits"] = {n: s for n, s in splits.items() if s["kind"] not in PUBLISHED}
    if recipe.default_split not in described["splits"]:
        described["default_split"] = "random"
    return make_recipe(described)


def curated(layout: Layout, server: str, home: Path) -> Shards:
    """The molecules that the recipe of a layout makes of its file."""
    recipe = served(load_recipe(layout.recipe), server, layout.file, layout.content)
    return curate(recipe, workers=0, home=home, progress=False)


def check(shards: Shards, layout: Layout) -> None:
    """Assert that rows, molecules, identifiers and values are those of the layout."""
    assert shards.manifest["n_source"] == layout.rows
    assert shards.n == layout.kept
    table = shards.table(["id", *layout.values])
    for label, expected in layout.values.items():
        found = table.column(label).to_pylist()
        assert found == [None if value is None else pytest.approx(value) for value in expected]
    if layout.ids is not None:
        assert table.column("id").to_pylist() == layout.ids


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.recipe}-{layout.file}")
def test_a_file_in_its_layout_comes_out_with_its_values(
    layout: Layout, server: str, tmp_path: Path
) -> None:
    check(curated(layout, server, tmp_path), layout)


@pytest.mark.parametrize("layout", FILTERED, ids=lambda layout: layout.recipe)
def test_rows_of_other_species_and_endpoints_are_left_out(
    layout: Layout, server: str, tmp_path: Path
) -> None:
    shards = curated(layout, server, tmp_path)
    assert shards.n == layout.kept
    for label, expected in layout.values.items():
        assert shards.table([label]).column(0).to_pylist() == pytest.approx(expected)


def test_a_table_of_many_genes_is_one_task_of_their_classes(server: str, tmp_path: Path) -> None:
    layout = layouts.l1000("VCAP", n_gene=20)
    shards = curated(layout, server, tmp_path)
    task = shards.tasks["l1000_vcap"]
    assert task["kind"] == "classes" and len(task["labels"]) == 20
    assert [label["name"] for label in task["labels"][:2]] == ["geneID-780", "geneID-781"]
    assert {tuple(label["classes"]) for label in task["labels"]} == {("0", "1", "2", "3", "4")}
    dropped = shards.dropped().to_pylist()
    assert [row["input_smiles"] for row in dropped] == ["restricted"]


def test_molecules_of_both_classes_are_reported(server: str, tmp_path: Path) -> None:
    layout = next(layout for layout in LAYOUTS if layout.recipe == "bbbp")
    shards = curated(layout, server, tmp_path)
    (conflict,) = shards.conflicts().to_pylist()
    assert (conflict["label"], conflict["kept"], conflict["values"]) == ("p_np", None, [0, 1])
    reasons = [row["reason"] for row in shards.dropped().to_pylist()]
    assert sorted(reasons) == ["impossible valence", "same molecule as an earlier row"]


def test_the_published_split_of_toymix_is_read_by_its_rows(server: str, tmp_path: Path) -> None:
    lines = [f"{'C' * (n + 1)}O,{','.join(str(n % 2) * 12)}" for n in range(20)]
    names = [label.name for label in load_recipe("tox21").labels]
    content = layouts.table(f"smiles,{','.join(names)}", lines)
    recipe = served(load_recipe("tox21"), server, "few.csv", content)
    split = load_recipe("tox21").splits["toymix"]
    recipe = recipe.model_copy(update={"splits": {"toymix": split}, "default_split": "toymix"})
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    sides = shards.array("split_toymix").tolist()
    assert [sides.count(side) for side in (0, 1, 2)] == [16, 2, 2]


@pytest.mark.parametrize("name", ["l1000_vcap", "l1000_mcf7", "pcba_1328"])
def test_the_published_split_of_largemix_keeps_test_seen(
    name: str, server: str, tmp_path: Path
) -> None:
    import torch

    layout = next(layout for layout in LAYOUTS if layout.recipe == name)
    lists = {"train": [0], "val": [1], "test": [2], "test_seen": [3]}
    content = io.BytesIO()
    torch.save(lists, content)
    _Handler.files[f"/{name}.pt"] = content.getvalue()
    published_split = load_recipe(name).splits["largemix"]
    split = published_split.model_copy(update={"url": f"{server}/{name}.pt"})
    recipe = served(load_recipe(name), server, layout.file, layout.content)
    recipe = recipe.model_copy(update={"splits": {"largemix": split}, "default_split": "largemix"})
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    expected = {0: 0, 1: 1, 2: 2, 3: 3}
    rows = shards.table(["row"]).column(0).to_pylist()
    assert shards.array("split_largemix").tolist() == [expected[row] for row in rows]


@pytest.mark.parametrize("name", ["caco2_wang", "herg"])
def test_the_archive_of_tdc_runs_through_the_same_recipe(
    name: str, server: str, tmp_path: Path
) -> None:
    layout = layouts.tdc(name, delimiter=",")
    header, *lines = layout.content.decode().splitlines()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"admet_group/{name}/test.csv", f"{header}\n{lines[0]}\n")
        archive.writestr(f"admet_group/{name}/train_val.csv", "\n".join([header, *lines[1:], ""]))
    member = f"admet_group/{name}/*.csv"
    recipe = served(
        load_recipe(f"tdc_{name}"),
        server,
        f"{name}.zip",
        content.getvalue(),
        format="csv",
        member=member,
    )
    check(curate(recipe, workers=0, home=tmp_path, progress=False), layout)


@pytest.mark.parametrize("part", ["train_val.csv", "test.csv"])
def test_a_file_of_the_benchmark_of_tdc_is_a_source(part: str, tmp_path: Path) -> None:
    layout = layouts.tdc("herg", delimiter=",")
    (tmp_path / part).write_bytes(layout.content)
    shards = curate("tdc_herg", source=tmp_path / part, workers=0, home=tmp_path, progress=False)
    check(shards, layout)


# ------------------------------------------------------------------------- what recipes must state

TDC = [f"tdc_{name}" for name in (*layouts.TDC_NUMBERS, *layouts.TDC_CLASSES, "ppbr_az")]
FLAWED = ["bbbp", "clintox", "sider", "esol", "freesolv", *TDC]


def test_every_set_has_a_layout_here_and_tdc_has_22() -> None:
    assert len(TDC) == 22
    shipped = {name for name in list_recipes() if name.startswith(("tdc_", "l1000_", "biogen_"))}
    assert shipped <= set(NAMES)
    assert set(NAMES) <= set(list_recipes())


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_where_its_data_is_from_and_what_is_not_known(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.description and recipe.licence and recipe.citation
    assert recipe.faults and recipe.unverified and recipe.disk and recipe.time
    assert bool(recipe.warning) == (name in FLAWED)
    assert recipe.tasks and {label for task in recipe.tasks for label in task.labels}
    for label in recipe.labels:
        assert label.geometry == "none"
        assert label.theory == "assay" or label.name == "calc"
        kind = recipe.kind_of(label.name)
        assert (label.unit == "1") == (kind != "regression")
        assert (label.range is not None) == (kind == "regression")
    assert {"random", "scaffold"} <= set(recipe.splits)
    source = recipe.source
    addresses = [a for a in (source.url, *source.mirrors) if a]
    assert all(address.startswith("https://") for address in addresses)


def test_three_endpoints_of_biogen_are_tasks_of_their_own() -> None:
    tasks = {task.name: task.labels for task in load_recipe("biogen_adme").tasks}
    assert {name: tasks[name] for name in ("HCLint", "PERM", "SOLU")} == {
        "HCLint": ["HCLint"],
        "PERM": ["PERM"],
        "SOLU": ["SOLU"],
    }


def test_a_structure_file_runs_through_muv_without_its_labels(tmp_path: Path) -> None:
    file = tmp_path / "screen.csv"
    file.write_text("smiles\nCCO\nOC(C)C\n")
    shards = curate("muv", source=file, workers=0, home=tmp_path, progress=False)
    assert shards.n == 2 and not shards.tasks


def test_a_file_of_another_set_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("smiles,logS\nCCO,1.0\n")
    with pytest.raises(InputError, match="has no column 'p_np' for label 'p_np'"):
        curate("bbbp", source=file, workers=0, home=tmp_path, progress=False)


# ------------------------------------------------------------------------------ real files, if here


def missing(name: str, folder: Path) -> tuple[int, dict[str, int]]:
    """Rows of a real file as its recipe reads it, and cells without a value, by label."""
    from molnb.recipes.chosen_columns import with_chosen_columns
    from molnb.recipes.snapshot import write_snapshot
    from molnb.recipes.sources import find_source, with_source

    recipe = with_source(load_recipe(name), SHARED / f"{name}.parquet")
    located = find_source(recipe, folder)
    chosen = with_chosen_columns(recipe, located)
    counts = write_snapshot(chosen, located, folder / "snapshot.parquet")
    empty = {label: sum(reasons.values()) for label, reasons in counts["missing"].items()}
    return counts["rows"], empty


@real
@pytest.mark.parametrize(
    "name, rows",
    [
        ("tox21", 7831),
        ("biogen_adme", 3521),
        ("bbbp", 2050),
        ("bace", 1513),
        ("esol", 1128),
        ("freesolv", 642),
        ("lipophilicity", 4200),
    ],
)
def test_real_tables_are_read_with_every_missing_cell(name: str, rows: int, tmp_path: Path) -> None:
    file = pq.read_table(SHARED / f"{name}.parquet")
    n_row, empty = missing(name, tmp_path)
    assert n_row == rows == file.num_rows
    columns = {label.name: label.columns for label in load_recipe(name).labels}
    assert set(empty) == set(columns)
    for label, n in empty.items():
        column = next(column for column in columns[label] if column in file.column_names)
        assert n == file.column(column).null_count


REAL_ACCOUNTS = [
    ("tox21", "tox21", 7831, 7476, {"impossible valence": 8}, 54),
    ("bbbp", "bbbp", 2050, 1952, {"impossible valence": 11}, 11),
    ("biogen_adme", "biogen_adme", 3521, 3520, {"over the size limit": 1}, 0),
    ("muv", "muv_smiles", 93127, 93087, {"same molecule as an earlier row": 40}, 0),
]


@real
@pytest.mark.slow
@pytest.mark.parametrize(
    "name, file, rows, kept, dropped, conflicts", REAL_ACCOUNTS, ids=lambda case: str(case)[:12]
)
def test_real_tables_are_accounted_for_row_by_row(
    name: str,
    file: str,
    rows: int,
    kept: int,
    dropped: dict[str, int],
    conflicts: int,
    tmp_path: Path,
) -> None:
    account = read_account(name, SHARED / f"{file}.parquet", tmp_path)
    assert (account.rows, account.kept, account.conflicts) == (rows, kept, conflicts)
    assert account.dropped.items() >= dropped.items()
    assert account.kept + sum(account.dropped.values()) == account.rows
    for label in account.recipe.labels:
        unknown = sum(account.missing[label.name].values())
        assert values(account, label.name).count(None) == unknown
