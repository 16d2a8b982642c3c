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

SHARED = Path("/work/shared/data")  # real files, where they are
NAMES = sorted({layout.recipe for layout in [*LAYOUTS, *FILTERED]})
# Published splits list rows of a whole file: on a few rows they are tested by themselves.
PUBLISHED = ("file", "shuffle")
real = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real files")
filters = pytest.mark.xfail(strict=False, reason="where: rows are not filtered yet")
archives = pytest.mark.xfail(strict=False, reason="archives")
published = pytest.mark.xfail(strict=False, reason="splits of kind shuffle and file")


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
    assert shards.manifest["counts"]["source"] == layout.rows
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


@filters
@pytest.mark.parametrize("layout", FILTERED, ids=lambda layout: layout.recipe)
def test_rows_of_other_species_and_endpoints_are_left_out(
    layout: Layout, server: str, tmp_path: Path
) -> None:
    shards = curated(layout, server, tmp_path)
    assert shards.n == layout.kept
    for label, expected in layout.values.items():
        assert shards.table([label]).column(0).to_pylist() == pytest.approx(expected)
