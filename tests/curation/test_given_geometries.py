"""Sources that give geometries, and labels of atoms, bonds and pairs in columns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from curated_files import FEW
from rdkit import Chem

from molnb.chemistry.conformer import make_conformer
from molnb.chemistry.parsing import with_coords
from molnb.cli import main
from molnb.curation.pipeline import curate
from molnb.data.dataset import Corpus
from molnb.data.sampling import batches, draw_conformers
from molnb.recipes.registry import make_recipe
from molnb.recipes.sources import recipe_for_file
from molnb.shards import Shards

ABOUT = {"quantity": "q", "unit": "1", "theory": "made up", "geometry": "none"}


def recipe_of(path: Path, **keys) -> Any:
    content = {
        "name": "mine",
        "title": "mine",
        "licence": "none",
        "citation": "none",
        "source": {"kind": "file", "file": str(path)},
        "splits": {"random": {"kind": "random", "fractions": [0.5, 0.25, 0.25]}},
        "default_split": "random",
    }
    return make_recipe(content | keys)


def complete(smiles: str) -> Chem.Mol:
    canonical = Chem.CanonSmiles(smiles)
    return with_coords(
        Chem.AddHs(Chem.MolFromSmiles(canonical)), [make_conformer(canonical).coords]
    )


def write_geometries(folder: Path, molecules: list[Chem.Mol], **more) -> Path:
    """A Parquet file of molecules: SMILES, atomic numbers, flat coordinates in 1e-4 Å, bonds."""
    bonds = [
        [
            x
            for b in mol.GetBonds()
            for x in (b.GetBeginAtomIdx(), b.GetEndAtomIdx(), b.GetBondTypeAsDouble())
        ]
        for mol in molecules
    ]
    columns = {
        "smiles": [Chem.MolToSmiles(Chem.RemoveHs(mol)) for mol in molecules],
        "z": [[atom.GetAtomicNum() for atom in mol.GetAtoms()] for mol in molecules],
        "xyz": [
            np.round(mol.GetConformer().GetPositions().ravel() * 1e4).astype(int).tolist()
            for mol in molecules
        ],
        "bonds": bonds,
        "y": [float(k) for k in range(len(molecules))],
    }
    pq.write_table(pa.table(columns | more), folder / "mine.parquet")
    return folder / "mine.parquet"


GEOMETRY = {"numbers": "z", "coords": "xyz", "unit": "1e-4 Å", "bonds": "bonds"}
LABEL = ABOUT | {"name": "y", "column": "y", "geometry": "as given"}


def curate_given(folder: Path, molecules: list[Chem.Mol], geometry=GEOMETRY, **keys) -> Shards:
    path = write_geometries(folder, molecules)
    columns = {"smiles": "smiles", "geometry": geometry}
    keys = {"columns": columns, "conformers": "given", "labels": [LABEL], **keys}
    return curate(recipe_of(path, **keys), workers=0, home=folder, progress=False)


def test_given_coordinates_stand_in_the_shards_as_they_were(tmp_path: Path) -> None:
    molecules = [complete(smiles) for smiles in ["CCO", "c1ccncc1C", "C[C@H](N)C(=O)O"]]
    shards = curate_given(tmp_path, molecules)
    assert shards.n == 3
    offset = shards.array("atom_offset")
    rows = shards.table(["smiles", "embedded_by", "n_conformers", "geometry_key"]).to_pylist()
    for k, (row, mol) in enumerate(zip(rows, molecules, strict=True)):
        assert (row["embedded_by"], row["n_conformers"]) == ("given", 1)
        assert row["geometry_key"]
        stored = shards.array("coords")[offset[k] : offset[k + 1]]
        stored_mol = Chem.AddHs(Chem.MolFromSmiles(row["smiles"]))
        order = mol.GetSubstructMatch(stored_mol)
        heavy = stored_mol.GetNumHeavyAtoms()
        source = mol.GetConformer().GetPositions()[list(order)]
        assert np.abs(stored[:heavy] - source[:heavy]).max() < 1e-4
        distances = np.linalg.norm(stored[:, None] - stored[None], axis=-1)
        expected = np.linalg.norm(source[:, None] - source[None], axis=-1)
        assert np.allclose(np.sort(distances.ravel()), np.sort(expected.ravel()), atol=5e-4)
    assert not any("conformers made" in note for note in shards.manifest["notices"])


def test_a_molecule_in_two_geometries_is_two_samples_and_one_identity(tmp_path: Path) -> None:
    mol = complete("CCO")
    moved = with_coords(mol, [mol.GetConformer().GetPositions() * [-1, 1, 1]])
    shards = curate_given(tmp_path, [mol, moved, mol])
    assert shards.smiles() == ["CCO", "CCO"]
    (row,) = shards.dropped().to_pylist()
    assert row["reason"] == "same molecule as an earlier row"
    assert len(set(shards.table(["group"])["group"].to_pylist())) == 1, "on one side of a split"


def test_a_geometry_of_another_molecule_is_dropped_or_believed_as_the_recipe_says(
    tmp_path: Path,
) -> None:
    molecules = [complete("CCO"), complete("CC=O")]
    path = write_geometries(tmp_path, molecules, smiles=["CCO", "CCO"])
    for disagreeing, smiles in (("drop", ["CCO"]), ("geometry", ["CCO", "CC=O"])):
        geometry = GEOMETRY | {"disagreeing": disagreeing}
        columns = {"smiles": "smiles", "geometry": geometry}
        recipe = recipe_of(path, columns=columns, conformers="given", labels=[LABEL])
        shards = curate(recipe, workers=0, home=tmp_path, progress=False)
        assert shards.smiles() == smiles
    assert shards.manifest["counts"]["embedded_by"] == {"given": 1, "given, bonds perceived": 1}
    assert "given, bonds perceived 1" in shards.summary()


def test_without_a_column_of_smiles_the_bonds_are_perceived(tmp_path: Path) -> None:
    geometry = {"numbers": "z", "coords": "xyz", "unit": "1e-4 Å"}
    molecules = [complete("O=C(O)c1ccncc1"), complete("CC#N")]
    path = write_geometries(tmp_path, molecules)
    recipe = recipe_of(
        path, columns={"smiles": None, "geometry": geometry}, conformers="given", labels=[LABEL]
    )
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    assert shards.smiles() == ["O=C(O)c1ccncc1", "CC#N"]


def test_a_file_without_geometries_is_refused_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "flat.csv").write_text("smiles,mu\nCCO,1.7\nCCN,1.2\n")
    (tmp_path / "mine.yaml").write_text(
        "{name: mine, title: mine, licence: none, citation: none, conformers: given, "
        f"source: {{kind: file, file: {tmp_path / 'flat.csv'}}}}}\n"
    )
    arguments = ["curate", str(tmp_path / "mine.yaml"), "--workers", "0", "--out", str(tmp_path)]
    assert main(arguments) == 2
    assert "this file has none: make them (--conformers made)" in capsys.readouterr().err
    assert main([*arguments, "--conformers", "made"]) == 0


@pytest.mark.parametrize("kind", ["cxsmiles", "sdf"])
def test_structures_that_carry_coordinates_keep_them(tmp_path: Path, kind: str) -> None:
    mol = complete("C[C@H](N)C(=O)O")
    if kind == "sdf":
        path = tmp_path / "mine.sdf"
        path.write_text(Chem.MolToMolBlock(mol) + "$$$$\n")
        columns = {"smiles": None}
    else:
        path = tmp_path / "mine.csv"
        path.write_text('smiles\n"' + Chem.MolToCXSmiles(mol) + '"\n')
        columns = {"smiles": "smiles"}
    recipe = recipe_of(path, columns=columns, conformers="given")
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    (smiles,) = shards.smiles()
    assert smiles == Chem.CanonSmiles("C[C@H](N)C(=O)O")
    coords = np.asarray(shards.array("coords"))
    distances = np.linalg.norm(coords[:, None] - coords[None], axis=-1)
    source = mol.GetConformer().GetPositions()
    expected = np.linalg.norm(source[:, None] - source[None], axis=-1)
    assert np.allclose(np.sort(distances.ravel()), np.sort(expected.ravel()), atol=1e-3)


@pytest.mark.parametrize("kind", ["sdf", "parquet"])
def test_a_file_of_one_s_own_may_keep_its_geometries(tmp_path: Path, kind: str) -> None:
    molecules = [complete("C[C@H](N)C(=O)O"), complete("CCO")]
    path = tmp_path / f"mine.{kind}"
    if kind == "sdf":
        path.write_text("".join(Chem.MolToMolBlock(mol) + "$$$$\n" for mol in molecules))
    else:
        numbers = [[atom.GetAtomicNum() for atom in mol.GetAtoms()] for mol in molecules]
        coords = [mol.GetConformer().GetPositions().ravel().tolist() for mol in molecules]
        pq.write_table(pa.table({"Z": numbers, "pos": coords}), path)
    recipe = recipe_for_file(path, conformers="given")
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    assert shards.smiles() == [Chem.CanonSmiles("C[C@H](N)C(=O)O"), "CCO"]
    offset = shards.array("atom_offset")
    stored = np.asarray(shards.array("coords")[offset[1] : offset[2]])
    source = molecules[1].GetConformer().GetPositions()
    assert np.allclose(np.sort(stored, axis=0), np.sort(source, axis=0), atol=1e-3)


# ------------------------------------------------------------------------ labels that are lists


def write_labels(folder: Path, spellings: list[str]) -> Path:
    """Made-up labels on every level, in the order of each spelling's own atoms and bonds."""
    rows: dict[str, list] = {"smiles": [], "mass": [], "order": [], "hops": [], "directed": []}
    for text in spellings:
        mol = Chem.MolFromSmiles(text)
        numbers = np.array([atom.GetAtomicNum() for atom in mol.GetAtoms()])
        rows["smiles"].append(text)
        rows["mass"].append(str(numbers.tolist()))
        orders = [bond.GetBondTypeAsDouble() for bond in mol.GetBonds()]
        rows["order"].append(np.repeat(orders, 2).tolist())
        rows["hops"].append(Chem.GetDistanceMatrix(mol).ravel().tolist())
        rows["directed"].append((100.0 * numbers[:, None] + numbers).ravel().tolist())
    pq.write_table(pa.table(rows), folder / "mine.parquet")
    return folder / "mine.parquet"


LIST_LABELS = [
    ABOUT | {"name": "mass", "column": "mass", "level": "atom"},
    ABOUT | {"name": "order", "column": "order", "level": "bond"},
    ABOUT | {"name": "hops", "column": "hops", "level": "pair"},
    ABOUT | {"name": "directed", "column": "directed", "level": "pair", "pairs": "ordered"},
]
LIST_TASKS = [
    {"name": "atoms", "level": "atom", "labels": ["mass"]},
    {"name": "bonds", "level": "bond", "labels": ["order"]},
    {"name": "pairs", "level": "pair", "labels": ["hops"]},
    {"name": "ways", "level": "pair", "labels": ["directed"]},
]


def respell(smiles: str, seed: int) -> str:
    mol = Chem.MolFromSmiles(smiles)
    order = np.random.default_rng(seed).permutation(mol.GetNumAtoms()).tolist()
    return Chem.MolToSmiles(Chem.RenumberAtoms(mol, order), canonical=False)


def test_every_value_is_at_its_atom_bond_and_pair_in_a_batch(tmp_path: Path) -> None:
    spellings = [respell(smiles, seed) for seed, smiles in enumerate(FEW[1:])]
    path = write_labels(tmp_path, spellings)
    recipe = recipe_of(path, labels=LIST_LABELS, tasks=LIST_TASKS)
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    corpus = Corpus([shards])
    ids = np.array([4, 0, 5, 2])
    batch = corpus.batch(ids, ["atoms", "bonds", "pairs", "ways"])
    numbers = batch.numbers.numpy().astype(int)
    atoms = batch.labels["atoms"]
    assert atoms.values[:, 0].tolist() == numbers[atoms.index].tolist()
    mols = [Chem.MolFromSmiles(shards.smiles()[i]) for i in ids]
    orders = [bond.GetBondTypeAsDouble() for mol in mols for bond in mol.GetBonds()]
    assert batch.labels["bonds"].values[:, 0].tolist() == orders
    first = batch.first_atom().numpy()
    _, i, j = batch.labels["pairs"].index.T
    assert (i < j).all()
    hops = [Chem.GetDistanceMatrix(mol) for mol in mols]
    pairs = batch.labels["pairs"]
    expected = [hops[mol][i, j] for mol, i, j in pairs.index.tolist()]
    assert pairs.values[:, 0].tolist() == expected
    ways = batch.labels["ways"]
    assert len(ways.values) == sum(mol.GetNumAtoms() ** 2 for mol in mols)
    expected = [
        100 * numbers[first[mol] + i] + numbers[first[mol] + j] for mol, i, j in ways.index.tolist()
    ]
    assert ways.values[:, 0].tolist() == expected


def test_lists_that_fit_nothing_are_missing_with_their_reason(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text('smiles,q\nCCO,"[1,2,3]"\nCCN,"[1,2]"\nCCC,\nCCF,abc\n')
    label = ABOUT | {"name": "q", "column": "q", "level": "atom"}
    shards = curate(recipe_of(path, labels=[label]), workers=0, home=tmp_path, progress=False)
    counts = shards.manifest["labels"]["q"]
    assert counts["known"] == 1
    wrong = "as many values as neither atoms, bonds nor pairs"
    assert counts["missing"] == {wrong: 1, "not in the source": 2}
    assert any("not a list of numbers" in note for note in shards.manifest["notices"])


# ---------------------------------------------------------------------------- several conformers


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """Three molecules with three conformers each and a drawing behind them."""
    folder = tmp_path_factory.mktemp("several")
    (folder / "mine.csv").write_text("smiles\nCCCCO\nc1ccccc1CCN\nCC(=O)NCCO\n")
    recipe = recipe_of(folder / "mine.csv", conformers={"n": 3, "flat": True})
    return curate(recipe, workers=0, home=folder, progress=False)


def test_a_recipe_makes_several_conformers_and_a_drawing(several: Shards) -> None:
    n_atom = np.diff(several.array("atom_offset"))
    assert several.array("n_conformers").tolist() == [4, 4, 4]
    assert several.array("coords").shape == (4 * n_atom.sum(), 3)
    start = int(several.array("coord_offset")[1])
    shapes = several.array("coords")[start : start + 4 * n_atom[1]].reshape(4, -1, 3)
    first = make_conformer(several.smiles()[1]).coords
    assert np.array_equal(shapes[0], first)
    assert np.array_equal(shapes[2], make_conformer(several.smiles()[1], 2).coords)
    assert not shapes[3][:, 2].any() and shapes[1][:, 2].any()
    assert "12 of 3 molecules" in several.summary()


def test_training_draws_a_conformer_by_seed_step_and_sample(several: Shards) -> None:
    corpus = Corpus([several])
    ids = np.arange(3)
    draws = np.stack([draw_conformers(corpus, ids, 0, step) for step in range(400)])
    counts = np.stack([np.bincount(column, minlength=4) for column in draws.T])
    assert counts.min() > 60 and counts.max() < 140, "evenly"
    assert np.array_equal(draws[7], draw_conformers(corpus, ids, 0, 7))
    assert np.array_equal(draws[7][[2, 0]], draw_conformers(corpus, ids[[2, 0]], 0, 7))
    step = int(np.flatnonzero(draws[:, 1] == 2)[0])
    drawn = {int(b.ids[k]): b for b in batches(corpus, draw=(0, step)) for k in range(b.n_mol)}
    (plain,) = batches(corpus, np.array([1]))
    n_heavy = int(corpus.n_atoms[1])
    batch = drawn[1]
    first = int(batch.first_atom()[batch.ids.tolist().index(1)])
    expected = make_conformer(several.smiles()[1], 2).coords[:n_heavy]
    assert np.array_equal(batch.coords[first : first + n_heavy].numpy(), expected)
    assert np.array_equal(
        plain.coords.numpy(), make_conformer(several.smiles()[1]).coords[:n_heavy]
    )


# --------------------------------------------------------------------------------- sparse labels


def test_thousands_of_labels_are_stored_and_read_without_padding(tmp_path: Path) -> None:
    n_label = 300
    random = np.random.default_rng(0)
    known = random.random((len(FEW), n_label)) < 0.1
    known[1] = False
    columns = {
        f"assayID-{k}": pa.array(np.where(known[:, k], k, np.nan), from_pandas=True)
        for k in range(n_label)
    }
    known_of = {k for k in range(n_label) if known[[0, *range(2, len(FEW))], k].any()}
    columns = {name: columns[name] for k in known_of for name in [f"assayID-{k}"]}
    pq.write_table(pa.table({"smiles": FEW} | columns), tmp_path / "mine.parquet")
    label = ABOUT | {"name": "assay_*", "column": "assayID-*"}
    recipe = recipe_of(
        tmp_path / "mine.parquet",
        labels=[label],
        tasks=[{"name": "assays", "labels": ["assay_*"]}],
    )
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    assert shards.array("assays.values").shape == shards.array("assays.label").shape
    names = [label["name"] for label in shards.tasks["assays"]["labels"]]
    assert names == [f"assay_{k}" for k in known_of]
    backwards = np.arange(shards.n)[::-1].copy()
    labels = Corpus([shards]).batch(backwards, ["assays"]).labels["assays"]
    values = labels.values.numpy()
    assert values.shape[1] == len(known_of)
    assert np.isfinite(values).sum() == known[[0, *range(2, len(FEW))]].sum()
    number = np.array(sorted(known_of))
    rows, places = np.nonzero(np.isfinite(values))
    assert np.array_equal(values[rows, places], number[places])
