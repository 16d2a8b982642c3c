"""A notebook becomes a page: with shared scripts beside it, or in one file with everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from molnb.cli import main
from molnb.errors import InputError
from molnb.figures.view3d import show_molecule
from molnb.notebooks import pages
from molnb.notebooks.execution import export

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbconvert")
pytest.importorskip("latex2mathml")

WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}}


@pytest.fixture
def notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An executed notebook with a scene, a plain py3Dmol view, and a widget saved with its page."""
    from molnb.chemistry.ensembles import make_ensemble

    script = tmp_path / "share" / "3Dmol-min.js"
    script.parent.mkdir()
    script.write_text("/* the viewer </script> */")
    script.with_name("LICENSE").write_text("terms -- of the viewer")
    monkeypatch.setattr(pages, "find_viewer", lambda: script)
    viewer = pages.Asset(
        "3Dmol-min.js", pages.VIEWER, lambda: script, "window.$3Dmolpromise = 1;", "LICENSE"
    )
    monkeypatch.setattr(pages, "ASSETS", (pages.ASSETS[0], viewer))
    scene = show_molecule(make_ensemble("CCO", 1).mol)._repr_mimebundle_()
    plain = {"text/html": "<div id=plain></div><script>$3Dmolpromise.then(1)</script>"}
    outputs = [
        nbformat.v4.new_output("display_data", data)
        for data in (scene, plain, WIDGET | scene, WIDGET)
    ]
    cell = nbformat.v4.new_code_cell("show()", outputs=outputs)
    path = tmp_path / "seen.ipynb"
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Seen"), cell]), path
    )
    return path


def test_a_page_shares_its_scripts_and_keeps_their_licence(notebook: Path, tmp_path: Path) -> None:
    page = export(notebook, tmp_path / "page" / "seen.html")
    text = page.read_text()
    assert {file.name for file in (page.parent / "assets").iterdir()} == {
        "3Dmol-min.js",
        "3Dmol-min.LICENSE",
    }
    assert 'src="assets/3Dmol-min.js"' in text and "plotly.min.js" not in text, (
        "only what the page needs"
    )
    assert text.count('class="molnb-scene"') == 2, "a saved widget's page stands for it"
    assert text.count("needs a running kernel") == 1


def test_a_single_file_needs_nothing_beside_it(notebook: Path, tmp_path: Path) -> None:
    page = export(notebook, tmp_path / "alone.html", single=True)
    text = page.read_text()
    assert not (tmp_path / "assets").exists() and "src=" not in text
    assert "the viewer <\\/script>" in text and "terms - - of the viewer" in text


def test_without_3dmol_pages_do_not_look_for_it_in_the_network(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "find_viewer", lambda: None)
    monkeypatch.setattr(pages, "ASSETS", (pages.Asset("3Dmol-min.js", pages.VIEWER, lambda: None),))
    text = export(notebook, tmp_path / "page.html").read_text()
    assert "id=plain" not in text and "setup-viewer" in text and "<svg" in text


def test_a_notebook_without_outputs_is_run_first(tmp_path: Path) -> None:
    pytest.importorskip("papermill")
    cell = nbformat.v4.new_code_cell("print('was' + ' run')")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "new.ipynb")
    assert main(["export", str(tmp_path / "new.ipynb"), "--out", str(tmp_path)]) == 0
    assert "was run" in (tmp_path / "new.html").read_text()
    assert not nbformat.read(tmp_path / "new.ipynb", 4).cells[0].outputs, (
        "the notebook itself is left as it is"
    )


def test_what_cannot_be_exported_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")]), tmp_path / "bad.ipynb"
    )
    with pytest.raises(InputError, match="cannot be run .cell 1 failed: ZeroDivisionError"):
        export(tmp_path / "bad.ipynb", tmp_path / "bad.html")
    assert main(["export", "99_nothing"]) == 2
    assert "there is no notebook" in capsys.readouterr().err
