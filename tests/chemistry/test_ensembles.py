"""Conformers are the same every time, compared over symmetry, and shown without a network."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rdkit")
from rdkit import Chem

from molnb.chemistry.ensembles import (
    Ensemble,
    best_rmsd,
    discovery,
    distinct,
    make_ensemble,
    overlaid,
    rmsd_matrix,
    stored_geometry,
    torsion,
    with_coords,
)
from molnb.errors import InputError
from molnb.figures import threedmol

DOPAMINE = "NCCc1ccc(O)c(O)c1"


@pytest.fixture(scope="module")
def dopamine() -> Ensemble:
    return make_ensemble(DOPAMINE, 12)


def test_any_spelling_gives_the_same_conformers(dopamine: Ensemble) -> None:
    again = make_ensemble("c1cc(CCN)cc(O)c1O", 12)
    assert again.smiles == dopamine.smiles and np.array_equal(again.energies, dopamine.energies)
    assert all(np.array_equal(again.coords(i), dopamine.coords(i)) for i in range(len(again)))
    assert sorted(make_ensemble(DOPAMINE, 3, seed=2).seeds) == [2, 3, 4]


def test_energies_ascend_from_zero_and_the_first_draw_is_what_curation_stores(nci: Any) -> None:
    table = nci.table(["smiles", "undefined_stereo", "n_heavy"]).to_pylist()
    for i in [
        i for i, row in enumerate(table) if not row["undefined_stereo"] and row["n_heavy"] < 15
    ][:5]:
        ensemble = make_ensemble(table[i]["smiles"], 3)
        assert ensemble.energies[0] == 0 and (np.diff(ensemble.energies) >= 0).all()
        stored = stored_geometry(nci, i).GetConformer().GetPositions()
        assert np.abs(ensemble.coords(ensemble.stored) - stored).max() < 1e-4


def test_butane_is_anti_or_gauche() -> None:
    butane = make_ensemble("CCCC", 12)
    angles = np.abs(torsion(butane, (0, 1, 2, 3))).round()
    assert set(angles[butane.energies < 0.1]) == {180} and set(angles[butane.energies > 0.1]) == {
        65
    }
    assert 0.5 < butane.energies.max() < 1.2, "kcal/mol, gauche over anti"
    assert len(set(distinct(rmsd_matrix(butane), 0.3))) == 3, (
        "the two gauche forms are mirror images"
    )


def test_rmsd_does_not_depend_on_how_symmetric_atoms_are_numbered(dopamine: Ensemble) -> None:
    toluene = make_ensemble("Cc1ccccc1", 1)
    match = toluene.mol.GetSubstructMatches(toluene.mol, uniquify=False, maxMatches=100)
    flipped = next(m for m in match if m[:7] != tuple(range(7)))
    turned = with_coords(toluene.mol, [toluene.coords(0)[list(flipped)]])
    assert np.abs(turned.GetConformer().GetPositions() - toluene.coords(0))[:7].max() > 1
    assert best_rmsd(turned, toluene.mol) < 0.01
    matrix = rmsd_matrix(dopamine)
    laid, rmsds = overlaid(dopamine)
    assert np.allclose(matrix, matrix.T) and np.allclose(rmsds, matrix[0], atol=1e-3)
    assert np.allclose(rmsd_matrix(laid), matrix, atol=1e-3), (
        "laying over moves, it does not change"
    )


def test_many_symmetric_groups_do_not_explode() -> None:
    ensemble = make_ensemble("CC(C)(C)c1cc(C(C)(C)C)cc(C(C)(C)C)c1", 4)
    assert rmsd_matrix(ensemble).max() < 1.0


def test_mirror_images_cannot_be_laid_over_each_other_but_their_reflections_can() -> None:
    left = make_ensemble("C[C@H](N)C(=O)O", 2)
    right = make_ensemble("C[C@@H](N)C(=O)O", 2)
    assert best_rmsd(left.mol, right.mol) > 0.1
    assert best_rmsd(left.mol, right.mol, mirror=True) < 1e-3
    assert np.allclose(left.energies, right.energies)


def test_an_ensemble_is_of_one_isomer_where_the_drawing_leaves_it_open() -> None:
    ensemble = make_ensemble("CC(O)CC(N)c1ccccc1", 4)
    assert (
        "@" in ensemble.smiles
        and Chem.MolToSmiles(Chem.MolFromSmiles(ensemble.smiles)) == ensemble.smiles
    )
    isomers = set()
    for i in range(len(ensemble)):
        mol = with_coords(ensemble.mol, [ensemble.coords(i)])
        Chem.AssignStereochemistryFrom3D(mol)
        isomers.add(Chem.MolToSmiles(Chem.RemoveHs(mol)))
    assert isomers == {ensemble.smiles}


def test_relaxing_lowers_the_energy_of_the_same_draw() -> None:
    raw = make_ensemble(DOPAMINE, 2, relax=False)
    relaxed = make_ensemble(DOPAMINE, 2)
    total = [{s: e.zero + energy for s, energy in zip(e.seeds, e.energies)} for e in (raw, relaxed)]
    assert all(total[0][s] > total[1][s] + 1 for s in (0, 1)) and not raw.converged.any()


def test_representatives_are_the_lowest_of_their_group_and_discovery_only_grows(
    dopamine: Ensemble,
) -> None:
    matrix = rmsd_matrix(dopamine)
    stands = distinct(matrix, 0.5)
    assert (stands <= np.arange(len(stands))).all() and all(stands[i] == i for i in set(stands))
    assert (
        len(set(distinct(matrix, 0.0))) == len(dopamine) and len(set(distinct(matrix, 99.0))) == 1
    )
    table = discovery(dopamine, matrix)
    assert table["distinct"].iloc[-1] == len(set(stands)) and table["lowest_kcal_mol"].iloc[-1] == 0
    assert (np.diff(table["lowest_kcal_mol"]) <= 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make_ensemble("not a molecule", 2), "RDKit cannot read the SMILES"),
        (lambda: make_ensemble("CCO", 0), "at least 1"),
        (lambda: torsion(make_ensemble("CCO", 1), (0, 1, 2, 99)), "numbered 0 to 8"),
        (
            lambda: best_rmsd(make_ensemble("CCO", 1).mol, make_ensemble("c1ccccc1", 1).mol),
            "of one molecule",
        ),
    ],
)
def test_bad_input_is_refused_with_the_next_action(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        call()


# ---------------------------------------------------------------------------------------- pictures


def test_a_scene_is_a_drawing_with_what_a_browser_needs_to_turn_it(dopamine: Ensemble) -> None:
    from molnb.figures.view3d import show_conformers

    scene = show_conformers(dopamine, limit=5)
    page = scene.to_html()
    assert page.count("<svg") == 1 and "conformer 1 of 12: 0.00 kcal/mol above the lowest" in page
    assert "$3Dmolpromise" in page and "http" not in re.sub(r'xmlns="[^"]*"', "", page), (
        "nothing from elsewhere"
    )
    assert len(page) < 60_000
    spec = scene.turned().spec()
    assert [layer["look"] for layer in spec["layers"]] == ["ball", "ghost"] and len(
        spec["captions"]
    ) == 5
    assert all(
        len(frame) == 3 * len(spec["layers"][0]["symbols"]) for frame in spec["layers"][0]["frames"]
    )


def test_turning_a_scene_to_the_reader_keeps_handedness() -> None:
    from molnb.figures.svg3d import Layer, facing

    ensemble = make_ensemble("C[C@H](N)C(=O)O", 1)
    turn = facing([Layer(ensemble.mol, (ensemble.coords(0),))])
    assert np.isclose(np.linalg.det(turn), 1) and np.allclose(turn @ turn.T, np.eye(3))


def test_without_3dmol_a_drawing_says_what_to_run(
    dopamine: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    from molnb.figures import view3d

    monkeypatch.setattr(view3d, "find_viewer", lambda: None)
    page = view3d.show_molecule(dopamine.mol, dopamine.coords(0)).to_html()
    assert "<svg" in page and "python -m molnb setup-viewer" in page


def test_atom_values_have_one_symmetric_labelled_scale(dopamine: Ensemble) -> None:
    from molnb.figures.svg3d import MIDDLE, NEGATIVE, POSITIVE
    from molnb.figures.view3d import show_atom_values

    values = np.zeros(dopamine.mol.GetNumAtoms())
    values[:2] = -0.4, 0.2
    scene = show_atom_values(dopamine.mol, dopamine.coords(0), values, "charge (e)")
    assert scene.bar.limit == 0.4 and "charge (e)" in scene.to_html() and "−0.40" in scene.to_html()
    assert scene.layers[0].colours[0] == NEGATIVE.lower() and scene.layers[0].colours[2] == MIDDLE
    assert (
        show_atom_values(
            dopamine.mol, dopamine.coords(0), -values[: dopamine.mol.GetNumHeavyAtoms()], "q (e)"
        )
        .layers[0]
        .colours[0]
        == POSITIVE.lower()
    )
    with pytest.raises(InputError, match="give one an atom"):
        show_atom_values(dopamine.mol, dopamine.coords(0), [1.0, 2.0], "charge (e)")


def test_a_prediction_is_laid_over_the_truth_before_it_is_compared(dopamine: Ensemble) -> None:
    from molnb.figures.view3d import compare_geometries

    n = dopamine.mol.GetNumHeavyAtoms()
    true = dopamine.coords(0)[:n]
    moved = true @ np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]) + 5
    scene = compare_geometries(dopamine.mol, true, moved)
    assert "mean 0.00 Å, largest 0.00 Å" in scene.captions[0] and "heavy atoms only" in scene.note
    assert scene.to_html().count("<svg") == 1, "a ring without its hydrogens can be drawn"
    mirrored = compare_geometries(dopamine.mol, true, true * [1, 1, -1])
    assert "mean 0.00" not in mirrored.captions[0], "a mirror image is no good prediction"


def test_explore_leaves_the_view_with_its_own_slider_headlessly(
    dopamine: Ensemble, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("IPython")
    import IPython.display

    from molnb.figures.conformer_explorer import explore_conformers

    shown: list[Any] = []
    monkeypatch.setenv("MOLNB_HEADLESS", "1")
    monkeypatch.setattr(IPython.display, "display", shown.append)
    explore_conformers(dopamine)
    assert [type(scene).__name__ for scene in shown] == ["Scene"]
    assert '"slider":true' in shown[0].to_html()


def test_what_is_displayed_in_jupyterlab_also_holds_the_page(
    dopamine: Ensemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("anywidget")
    import IPython.display

    from molnb.figures.conformer_explorer import explore_conformers

    shown: list[Any] = []
    monkeypatch.delenv("MOLNB_HEADLESS", raising=False)
    monkeypatch.setattr(IPython.display, "display", lambda data, raw: shown.append(data))
    explore_conformers(dopamine)
    assert {"text/html", "application/vnd.jupyter.widget-view+json"} <= set(shown[0])


def test_denoising_is_asked_the_same_question_at_every_noise(nci: Any, tmp_path: Path) -> None:
    from molnb import load_run, make_preset, train
    from molnb.inference.denoising import denoise, mean_errors

    run = train(
        make_preset("pretrain_tiny", [nci.path], steps=2, global_batch=8, eval_every=2),
        tmp_path / "run",
    )
    model = load_run(run.path, device="cpu")
    small, large = (denoise(model, nci, [0, 3], noise, seed=1) for noise in (0.1, 0.2))
    assert [len(a.true) for a in small] == [
        Chem.MolFromSmiles(a.smiles).GetNumAtoms() for a in small
    ]
    assert np.allclose(
        (large[0].noisy - large[0].true), 2 * (small[0].noisy - small[0].true), atol=0.05
    )
    left, displaced = mean_errors(denoise(model, nci, [0, 3], 0.0))
    assert displaced < 1e-5 and left < 0.5


# ------------------------------------------------------------------------------ 3Dmol.js at set-up


def test_3dmol_is_installed_once_with_its_licence_and_the_extension(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {threedmol.SCRIPT: b"code", "LICENSE": b"terms"}
    fetches = []
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "user"))
    monkeypatch.setattr(
        threedmol, "_from_npm", lambda: (_ for _ in ()).throw(OSError("not installed"))
    )
    monkeypatch.setattr(threedmol, "_from_registry", lambda: fetches.append(1) or files)
    monkeypatch.setattr(
        threedmol, "_from_public", lambda: (_ for _ in ()).throw(OSError("no network"))
    )
    with pytest.raises(InputError, match="expected.*setup-viewer"):
        threedmol.install_viewer()
    assert threedmol.find_viewer() is None, "what fails the check is not kept"
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(threedmol, "SHA256", digests)
    script = threedmol.install_viewer()
    assert script == tmp_path / "share/jupyter/labextensions/molnb-3dmol/static/3Dmol-min.js"
    names = {
        str(file.relative_to(script.parent.parent))
        for file in script.parent.parent.rglob("*")
        if file.is_file()
    }
    assert names == {
        "package.json",
        "static/remoteEntry.js",
        "static/3Dmol-min.js",
        "static/LICENSE",
    }
    assert threedmol.install_viewer() == script and len(fetches) == 2, "what is there is kept"
