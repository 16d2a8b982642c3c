"""Pictures of scaffolds: small, with their sample, and with the drawings."""

from __future__ import annotations

import pytest
from curated_files import FEW

from molnb.curation.scaffolds import (
    ACYCLIC,
    count_scaffolds,
)
from molnb.curation.smiles_corpus import Molecules, load_molecules


@pytest.fixture(scope="module")
def few() -> Molecules:
    return load_molecules(FEW, name="few")


def test_figures_are_small_say_their_sample_and_hold_the_drawings(
    sample: Molecules, few: Molecules
) -> None:
    figures = pytest.importorskip("molnb.figures.scaffolds")
    first = count_scaffolds(sample)
    second = count_scaffolds(few)
    made = [
        figures.plot_top_scaffolds(first, second),
        figures.plot_rank_frequency([first, second]),
        figures.plot_coverage([first, second]),
        figures.plot_expected_scaffolds([first, second]),
        figures.plot_overlap(first, second),
        figures.plot_sampling([first, second]),
        figures.plot_seen([first, second], (0.01, 1.0)),
    ]
    for figure in made:
        text = figure.to_json()
        assert "(300 of 4,999 rows)" in text and len(text) < 200_000
    assert len(made[0].layout.images) == 12 + 4
    assert all(
        image.source.startswith("data:image/svg+xml;base64,") for image in made[0].layout.images
    )


def test_what_rdkit_cannot_draw_keeps_its_place_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("plotly")
    from xml.etree import ElementTree

    from molnb.figures import scaffold_browser as viewers

    for smiles in ("O=[n+]1[c-]cccc1", ACYCLIC, "c1ccc(Cc2ccccc2)cc1", "<&>"):
        ElementTree.fromstring(viewers.draw_structure(smiles, 90, 60))
    assert "[c-]" in viewers.draw_structure("O=[n+]1[c-]cccc1", 90, 60)
    monkeypatch.setenv("MOLNB_HEADLESS", "1")
    shown: list = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    counted = count_scaffolds(FEW)
    viewers.show_members([counted], ranks=(1, 2, 99))
    assert len(shown) == 1 and "2 of 2 molecules" in shown[0].data, "a plain picture, and no widget"
    assert viewers.draw_scaffolds([counted], k=3).data.count("<svg") == 3


def test_the_slider_shows_the_molecules_of_a_scaffold(few: Molecules) -> None:
    pytest.importorskip("ipywidgets")
    from molnb.figures.scaffold_browser import browse_members

    box = browse_members([count_scaffolds(few), count_scaffolds(few, acyclic=True)])
    controls, page = box.children
    corpus, rank = controls.children
    assert rank.max == 4 and "c1ccccc1" in page.value
    rank.value = 3
    assert "<b>rank 3</b>" in page.value
    corpus.value = corpus.options[1]
    assert rank.max == 5 and "rank 3" in page.value
