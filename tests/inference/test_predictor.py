"""A trained run answers for any SMILES: one molecule one answer, in order, errors in their row."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from curated_files import FEW, curate_smiles
from made_data import ALKANES, make_dataset
from rdkit import Chem
from rdkit.Chem import rdDepictor
from spellings import respelled
from tiny import SMALL, small_run

from molnb.chemistry.conformer import make_conformer
from molnb.errors import InputError
from molnb.inference.featurizer import featurize, featurize_all
from molnb.inference.parquet_output import write_embeddings, write_predictions
from molnb.inference.predictor import load_run
from molnb.objectives.supervised import Supervised
from molnb.training.loop import score, train
from molnb.training.runs import start_run

BAD = ["C(", "[H][H]", "C" * 70, "CCO.c1ccccc1", "", "[Na+].[Cl-]"]


@pytest.fixture(scope="module")
def model(label_run):
    return load_run(label_run.path)


def test_any_spelling_gives_the_same_geometry_and_embedding(model, nci):
    molecules = nci.smiles()[:10]
    spellings = [text for i, s in enumerate(molecules) for text in respelled(s, 4, i + 1)]
    geometries = [m.coords for m in featurize_all(spellings)]
    vectors = model.embed(spellings).reshape(len(molecules), 4, -1)
    assert np.ptp(vectors, axis=1).max() < 1e-5
    for first in range(0, len(spellings), 4):
        for other in geometries[first + 1 : first + 4]:
            assert np.array_equal(geometries[first], other)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


@pytest.mark.slow
def test_a_hundred_molecules_in_ten_spellings(model, nci):
    molecules = nci.smiles()[:100]
    spellings = [text for i, s in enumerate(molecules) for text in respelled(s, 10, i + 1)]
    assert len(molecules) >= 90
    geometries = [m.coords for m in featurize_all(spellings)]
    vectors = model.embed(spellings).reshape(len(molecules), 10, -1)
    assert np.ptp(vectors, axis=1).max() < 1e-5
    for first in range(0, len(spellings), 10):
        for other in geometries[first + 1 : first + 10]:
            assert np.array_equal(geometries[first], other)


def test_every_spelling_and_numbering_gives_the_same_embedding_permuted(model, nci):
    """Of atoms that symmetry makes one, as the two sides of a phenyl, either may come first."""
    for number, smiles in enumerate(nci.smiles()[:6]):
        mol = Chem.MolFromSmiles(smiles)
        n = mol.GetNumAtoms()
        order = np.random.default_rng(number).permutation(n).tolist()
        (spelling,) = respelled(smiles, 1, number + 1)
        renumbered = Chem.RenumberAtoms(mol, order)
        for other, other_mol in (
            (renumbered, renumbered),
            (spelling, Chem.MolFromSmiles(spelling)),
        ):
            atoms, other_atoms = model.embed([smiles, other], "atom")
            pairs, other_pairs = model.embed([smiles, other], "pair")
            assert atoms.shape == (n, 32) and pairs.shape == (n, n, 16)
            matches = other_mol.GetSubstructMatches(mol, uniquify=False, useChirality=True)
            ways = [list(match) for match in matches]
            differences = [np.abs(other_pairs[np.ix_(way, way)] - pairs).max() for way in ways]
            assert min(differences) < 1e-5
            best = ways[int(np.argmin(differences))]
            assert np.abs(other_atoms[best] - atoms).max() < 1e-5


def test_the_pair_track_is_not_symmetric_and_is_read_row_by_column(model):
    (pairs,) = model.embed("CCO", "pair")
    (back,) = model.embed("OCC", "pair")
    assert np.abs(pairs - pairs.transpose(1, 0, 2)).max() > 1e-3
    assert np.abs(pairs[::-1, ::-1] - back).max() < 1e-5


@pytest.mark.parametrize(
    ("left", "right"),
    [("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"), ("C[C@H]1CO1", "C[C@@H]1CO1")],
)
def test_mirror_images_have_mirrored_geometries(left, right):
    def sorted_distances(smiles: str) -> np.ndarray:
        coords = featurize(smiles).coords
        return np.sort(np.linalg.norm(coords[:, None] - coords[None], axis=-1).ravel())

    assert np.allclose(sorted_distances(left), sorted_distances(right), atol=1e-5)


def test_atoms_are_in_the_order_they_were_given(model):
    forward, backward = model.embed(["CCO", "OCC"], "atom")
    assert np.allclose(forward, backward[::-1], atol=1e-5)
    assert np.abs(forward[0] - forward[2]).max() > 1e-3
    (salt,) = model.embed(["[Na+].CC(=O)[O-]"], "atom")
    assert salt.shape == (5, 32) and np.isnan(salt[0]).all() and np.isfinite(salt[1:]).all()
    (salt,) = model.embed(["[Na+].CC(=O)[O-]"], "pair")
    assert salt.shape == (5, 5, 16) and np.isnan(salt[0]).all() and np.isnan(salt[:, 0]).all()
    assert np.isfinite(salt[1:, 1:]).all()
    predicted = model.predict(["CCO", "OCC"])["charge_mulliken_e"]
    assert np.allclose(predicted[0], predicted[1][::-1], atol=1e-5)


# ---------------------------------------------------------------- molecules with their own geometry


def in_3d(smiles: str, seed: int = 0, hydrogens: bool = True) -> Chem.Mol:
    """A molecule with the conformer that curation would give it."""
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.SetPositions(make_conformer(smiles, seed).coords.astype(float))
    mol.AddConformer(conformer)
    return mol if hydrogens else Chem.RemoveHs(mol)


def test_a_molecule_is_embedded_anew_unless_its_own_conformer_is_asked_for(model):
    smiles = "CC(C)C(=O)NCCO"
    same = in_3d(smiles)
    other = in_3d(smiles, seed=1)
    (expected,) = model.embed(smiles, "pair")
    anew = model.embed([same, other], "pair")
    assert all(np.abs(pairs - expected).max() < 1e-5 for pairs in anew)
    molecules = [same, in_3d(smiles, hydrogens=False), other]
    as_they_are = model.embed(molecules, "pair", conformer="given")
    differences = [np.abs(pairs - expected).max() for pairs in as_they_are]
    assert max(differences[:2]) < 1e-4 and differences[2] > 1e-3


def test_a_given_conformer_keeps_the_numbering_of_its_molecule(model):
    mol = in_3d("CC(=O)NCCO")
    order = np.random.default_rng(0).permutation(mol.GetNumAtoms()).tolist()
    renumbered = Chem.RenumberAtoms(mol, order)  # hydrogens between heavy atoms
    heavy = [i for i in order if mol.GetAtomWithIdx(i).GetAtomicNum() != 1]
    for level in ("atom", "pair"):
        straight, mixed = model.embed([mol, renumbered], level, conformer="given")
        index = heavy if level == "atom" else np.ix_(heavy, heavy)
        assert np.abs(straight[index] - mixed).max() < 1e-5


def test_what_has_no_3d_coordinates_is_an_error_in_its_row(model):
    flat = Chem.MolFromSmiles("CCO")
    rdDepictor.Compute2DCoords(flat)
    without = Chem.MolFromSmiles("CCO")
    clash = in_3d("CCO")
    clash.GetConformer().SetPositions(np.zeros((9, 3)))
    molecules = [flat, without, "CCO", clash, in_3d("CCO"), None, 3.5]
    rows = model.embedding_rows(molecules, "molecule", conformer="given")
    errors = [row.error for row in rows]
    assert errors[4] is None and all("no 3D coordinates" in error for error in errors[:4])
    assert "two dimensions" in errors[0] and "two atoms coincide" in errors[3]
    assert "empty" in errors[5] and "neither a SMILES nor an RDKit molecule: 3.5" in errors[6]
    with pytest.raises(InputError, match="unknown conformer 'own': choose one of new, given"):
        model.embed("CCO", conformer="own")


def test_a_model_that_sees_hydrogens_needs_theirs_and_answers_for_heavy_atoms(nci, tmp_path):
    config = small_run(nci, model=replace(SMALL, hydrogens=True), steps=1, n_val=2, global_batch=4)
    model = load_run(train(config, tmp_path).path)
    molecules = [in_3d("CCO"), in_3d("CCO", hydrogens=False)]
    whole, bare = model.embedding_rows(molecules, "pair", conformer="given")
    assert whole.values["embedding"].shape == (3, 3, 16)
    assert bare.error.endswith("(this model sees hydrogens: add those of the parent in 3D)")
    (anew,) = model.embed("CCO", "pair")
    assert np.abs(anew - whole.values["embedding"]).max() < 1e-4
    atoms = model.embed(nci, "atom")[:5]
    assert [len(vectors) for vectors in atoms] == nci.array("n_heavy")[:5].tolist()


def test_nothing_is_embedded_as_nothing(model):
    assert model.embed([]).shape == (0, 32) and model.embed([], "pair") == []


# --------------------------------------------------------------------------------- the size limit

CYCLOSPORIN = (
    "C/C=C/C[C@@H](C)[C@@H](O)[C@H]1C(=O)N[C@@H](CC)C(=O)N(C)CC(=O)N(C)[C@@H](CC(C)C)C(=O)"
    "N[C@@H](C(C)C)C(=O)N(C)[C@@H](CC(C)C)C(=O)N[C@@H](C)C(=O)N[C@H](C)C(=O)N(C)"
    "[C@@H](CC(C)C)C(=O)N(C)[C@@H](CC(C)C)C(=O)N(C)[C@@H](C(C)C)C(=O)N1C"
)
LARGE = {  # heavy atoms
    CYCLOSPORIN: 85,
    "OCC" + "OCC" * 22: 69,
    "N" + "CC(=O)N" * 16 + "CC(=O)O": 69,
    "N" + "C(C)C(=O)N" * 12 + "CC(=O)O": 65,
    "FC(F)(F)" + "C(F)(F)" * 20 + "C(F)(F)F": 68,
    "FC(F)(F)O" + "C(F)(F)C(F)(F)O" * 9 + "C(F)(F)F": 72,
    "OC(=O)" + "C(F)(F)" * 21 + "F": 67,
    "[Na+].[O-]C(=O)" + "C(F)(F)" * 22 + "F": 70,
    "CC(=O)O" + "CC(=O)O" * 16 + "C": 69,
    "C" * 66: 66,
}


def run_of_limit(folder, limit):
    """A run, after one step, on molecules whose recipe lets in so many heavy atoms."""
    shards = curate_smiles(folder, FEW, structure={"max_heavy_atoms": limit})
    return train(small_run(shards, steps=1, n_val=1, global_batch=2), folder / "run"), shards


@pytest.mark.parametrize(
    "smiles", [[*LARGE][1::3], pytest.param([*LARGE], marks=pytest.mark.slow)], ids=["some", "all"]
)
def test_a_run_answers_for_molecules_as_large_as_its_data_may_hold(tmp_path, smiles):
    """Also where the data are gone."""
    run, shards = run_of_limit(tmp_path, 90)
    shutil.rmtree(shards.path)
    rows = list(load_run(run.path).embedding_rows([*smiles, "C" * 91], "atom"))
    assert [row.error for row in rows[:-1]] == [None] * len(smiles)
    sizes = [int(np.isfinite(row.values["embedding"]).all(1).sum()) for row in rows[:-1]]
    assert sizes == [LARGE[large] for large in smiles]
    assert rows[-1].error == "standardise: over the size limit (91 heavy atoms, limit 90)"


@pytest.mark.parametrize("workers", [0, 2])
def test_the_limit_of_a_run_holds_also_below_64_and_in_files(tmp_path, workers, capsys):
    run, _ = run_of_limit(tmp_path, 14)
    assert run.max_heavy_atoms == 14 and load_run(run.path).max_heavy_atoms == 14
    file = tmp_path / "m.smi"
    file.write_text("\n".join("C" * n for n in range(10, 20)) + "\n")
    arguments = [file, run.path, tmp_path / "e.parquet"]
    quiet = {"workers": workers, "progress": False}
    assert write_embeddings(*arguments, **quiet)["errors"] == 5
    assert capsys.readouterr().err == ""
    assert write_embeddings(*arguments, **quiet, max_heavy_atoms=18)["errors"] == 1
    message = "run learnt from molecules of at most 14 heavy atoms; up to 18, answers are extrap"
    assert capsys.readouterr().err.count(message) == 1
    assert write_embeddings(*arguments, **quiet, max_heavy_atoms=10)["errors"] == 9
    with pytest.raises(InputError, match="max_heavy_atoms is 0: give 1 or more"):
        load_run(run.path, max_heavy_atoms=0)


def test_the_largest_limit_of_several_datasets_counts_and_64_where_none_is_known(tmp_path, nci):
    few = curate_smiles(tmp_path, FEW, structure={"max_heavy_atoms": 80})
    both = start_run(small_run(nci, data=(str(nci.path), str(few.path))), tmp_path / "both")
    assert both.max_heavy_atoms == 80
    (both.path / "data.json").unlink()
    assert both.max_heavy_atoms == 80, "a run of an older molnb, whose data are still there"
    shutil.rmtree(few.path)
    assert both.max_heavy_atoms == 64
    assert start_run(small_run(nci, data=("gone",)), tmp_path / "none").max_heavy_atoms == 64


# ------------------------------------------------------------------------------ curated molecules


def test_curated_molecules_are_embedded_from_disk_in_their_order(model, nci):
    few = nci.smiles()[:5]
    for level in ("molecule", "atom", "pair"):
        stored = model.embed(nci, level)
        fresh = model.embed(few, level)
        assert len(stored) == nci.n
        assert all(np.abs(a - b).max() < 1e-4 for a, b in zip(stored, fresh)), level


# ------------------------------------------------------------------------------------ predictions


def test_predictions_are_in_units_and_bad_rows_are_nan(model):
    table = model.predict(["CCO", *BAD, "c1ccccc1"])
    labels = ["homo_eV", "lumo_eV", "gap_eV", "charge_mulliken_e", "wiberg", "wiberg_pair"]
    assert list(table) == ["smiles", *labels, "error"]
    gap = table["gap_eV"].to_numpy()
    assert np.isfinite(gap[[0, -1]]).all() and np.isnan(gap[1:-1]).all()
    assert table["error"].isna().tolist() == [True, *[False] * len(BAD), True]
    assert -15 < table["homo_eV"][0] < -7  # eV, and not in units of the standard deviation
    assert len(table["wiberg"][0]) == 2 and len(table["wiberg_pair"][0]) == 3


def test_labels_of_any_name_have_columns_of_their_own(tmp_path):
    """In other scripts, alike but for punctuation, or called like a column of every table."""
    numbers = [float(n) for n in range(12)]
    names = ["活性 (nM)", "毒性 (nM)", "IC50 (nM)", "IC50_nM", "error", "unseen", "Größe/µm"]
    labels = dict.fromkeys(names, numbers)
    tasks = [{"name": "a", "labels": names[:4]}, {"name": "b", "labels": names[4:]}]
    shards = make_dataset(tmp_path, "mine", ALKANES, labels, tasks)
    config = small_run(shards, objective=Supervised(("a", "b")), steps=1, n_val=1, global_batch=4)
    model = load_run(train(config, tmp_path / "run").path)
    columns = [name for task in model.tasks for name in model.columns[task.key]]
    expected = ["活性_nM", "毒性_nM", "IC50_nM", "IC50_nM_2", "error_2", "unseen_2", "Größe_µm"]
    assert columns == expected
    table = model.predict(["CCC", "C("])
    assert list(table) == ["smiles", *expected, "error"]
    assert table[expected].notna().to_numpy().tolist() == [[True] * 7, [False] * 7]
    file = tmp_path / "new.csv"
    file.write_text("smiles,IC50_nM\nCCC,7\n")
    write_predictions(file, model.run.path, tmp_path / "p.csv", workers=0, keep=["IC50_nM"])
    header, row = (tmp_path / "p.csv").read_text().splitlines()
    assert header == f"row,id,input_smiles,smiles,kept_IC50_nM,{','.join(expected)},unseen,error"
    assert row.startswith("0,,CCC,CCC,7,")


def test_company_does_not_change_a_prediction(model):
    alone = model.predict("CCO")
    crowd = model.predict(["c1ccccc1C(=O)O", "CCO", "CN"])
    assert alone["gap_eV"][0] == pytest.approx(crowd["gap_eV"][1], abs=1e-4)


def test_what_is_stored_is_what_was_trained(label_run, model, nci, corpus):
    """Predicting a stored molecule from its SMILES equals evaluating it from its shards."""
    objective = label_run.config.objective
    labelled = corpus.labelled(["nci_orbitals"])[:5]
    batch = corpus.batch(labelled, objective.tasks)
    masked = objective.corrupt(batch, 0, 0, 0.0)
    errors = score(label_run.load_model(), objective, [masked], torch.device("cpu"))
    predictions = model.predict([nci.smiles()[i] for i in labelled])["gap_eV"]
    truth = batch.labels["nci_orbitals"].values[:, 2].numpy()
    assert errors["gap_mae_eV"] == pytest.approx(np.abs(predictions - truth).mean(), abs=1e-3)


def test_a_run_without_labels_predicts_nothing(finished):
    with pytest.raises(InputError, match="trained without labels.*use embed"):
        load_run(finished.path).predict("CCO")
    with pytest.raises(InputError, match="unknown level 'residue'"):
        load_run(finished.path).embed("CCO", "residue")


@pytest.mark.parametrize(
    ("smiles", "message"),
    [
        ("C(", "parse"),
        ("[H][H]", "no heavy atoms"),
        ("C" * 70, "over the size limit"),
        ("CCO.c1ccccc1", "two organic parents"),
        ("", "empty"),
        ("[Na+].[Cl-]", "no parent"),
    ],
)
def test_errors_say_what_was_wrong(model, smiles, message):
    (row,) = model.embedding_rows([smiles], "molecule")
    assert message in row.error
