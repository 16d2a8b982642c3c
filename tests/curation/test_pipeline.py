"""Curation loses nothing silently: every row is a molecule, or dropped with its reason."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from curated_files import curate_smiles, write_csv
from rdkit import Chem
from rdkit.Chem import rdDepictor

from molnb.chemistry import standardization
from molnb.chemistry.failures import MoleculeError
from molnb.curation import chunks, geometries
from molnb.curation.passes import cut_slices
from molnb.curation.pipeline import curate
from molnb.curation.smiles_corpus import load_molecules, query_molecules
from molnb.errors import InputError
from molnb.recipes.registry import load_recipe, make_recipe
from molnb.recipes.schema import Recipe
from molnb.recipes.sources import recipe_for_file, source_path, with_source
from molnb.rng import sample_rows
from molnb.shards import Shards


def test_every_sampled_row_is_a_molecule_or_dropped_with_its_reason(nci: Shards) -> None:
    manifest = nci.manifest
    dropped = nci.dropped()
    rows = nci.table(["row"]).column(0).to_pylist() + dropped.column("row").to_pylist()
    assert sorted(rows) == sample_rows(4999, 100).tolist()
    assert (manifest["n_source"], manifest["n_sampled"]) == (4999, 100)
    assert manifest["n_kept"] + manifest["n_dropped"] == 100
    assert all(dropped.column("step").to_pylist()) and all(dropped.column("reason").to_pylist())
    counts = [n for reasons in manifest["dropped"].values() for n in reasons.values()]
    assert sum(counts) == len(dropped)


UNUSABLE = [
    ("", "parse", "empty structure"),
    ("C1CC", "parse", "unreadable structure"),
    ("CC(C)(C)(C)C", "parse", "impossible valence"),
    ("[H][H]", "standardise", "no heavy atoms"),
    ("CCCCCCCCCCCC" * 6, "standardise", "over the size limit"),
    ("c1ccc2ccccc2c1.C1CCC2CCCCC2C1", "standardise", "two organic parents"),
    ("OCC", "duplicate", "same molecule as an earlier row"),
]


def test_every_row_of_a_table_of_all_kinds_is_accounted_for(tmp_path: Path) -> None:
    rows = [("CCO", None, None), *UNUSABLE, ("CCN", None, None), *UNUSABLE[:2]]
    shards = curate_smiles(tmp_path, [smiles for smiles, _, _ in rows])
    assert shards.table(["row"]).column(0).to_pylist() == [0, 8]
    dropped = shards.dropped().to_pylist()
    assert [row["row"] for row in dropped] == [1, 2, 3, 4, 5, 6, 7, 9, 10]
    for row in dropped:
        smiles, step, reason = rows[row["row"]]
        assert (row["input_smiles"], row["step"], row["reason"]) == (smiles, step, reason)
    counts: dict[str, Counter] = {}
    for _, step, reason in rows:
        if step:
            counts.setdefault(step, Counter())[reason] += 1
    assert shards.manifest["dropped"] == counts
    assert (shards.manifest["n_kept"], shards.manifest["n_dropped"]) == (2, 9)


@pytest.mark.parametrize(("smiles", "step", "reason"), UNUSABLE)
def test_what_cannot_be_used_is_dropped_with_step_and_reason(
    tmp_path: Path, smiles: str, step: str, reason: str
) -> None:
    shards = curate_smiles(tmp_path, ["CCO", smiles])
    (row,) = shards.dropped().to_pylist()
    assert (row["row"], row["line"], row["input_smiles"], row["step"]) == (1, 3, smiles, step)
    assert row["reason"] == reason and shards.manifest["dropped"] == {step: {reason: 1}}


def test_the_nci_rows_that_do_not_parse_are_eight() -> None:
    recipe = load_recipe("nci")
    file = source_path(recipe.source, recipe.folder)
    rows = [row.split("\t")[0] for row in file.read_text().splitlines()]
    n_failed = 0
    for smiles in rows:
        try:
            chunks.parse_smiles(smiles)
        except MoleculeError as failure:
            n_failed += failure.step == "parse"
    assert (len(rows), n_failed) == (4999, 8)


def test_a_failing_embedding_is_a_typed_failure_not_a_geometry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_conformer = geometries.make_conformer

    def fail_on_ethanol(smiles: str, seed: int):
        if smiles == "CCO":
            raise MoleculeError("embedding failed", "4 attempts")
        return make_conformer(smiles, seed)

    monkeypatch.setattr(geometries, "make_conformer", fail_on_ethanol)
    shards = curate_smiles(tmp_path, ["CCO", "CCN"])
    assert shards.smiles() == ["CCN"]
    (row,) = shards.dropped().to_pylist()
    assert (row["step"], row["reason"]) == ("conformer", "embedding failed")


def test_a_typo_in_the_program_is_not_counted_as_chemistry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_hydrogens = standardization.without_hydrogens

    def with_typo(mol):
        if mol.GetNumAtoms() == 4:
            return without_hydrogens(molecule)  # noqa: F821
        return without_hydrogens(mol)

    monkeypatch.setattr(standardization, "without_hydrogens", with_typo)
    smiles = ["C" * i for i in range(1, 7)]
    shards = curate_smiles(tmp_path, smiles)
    (row,) = shards.dropped().to_pylist()
    assert (row["input_smiles"], row["reason"]) == ("CCCC", "unexpected error")
    assert row["detail"] == "NameError: name 'molecule' is not defined"
    monkeypatch.setattr(standardization, "without_hydrogens", lambda mol: mol.NoSuchMethod())
    with pytest.raises(RuntimeError, match="every one of 6 rows failed unexpectedly.*NoSuchMethod"):
        curate_smiles(tmp_path, [text + "O" for text in smiles])


def test_only_invalid_smiles_are_refused_and_still_accounted_for(tmp_path: Path) -> None:
    message = r"0 of 12 rows of .*mine.csv became molecules \(unreadable structure 12\)"
    with pytest.raises(InputError, match=message) as refused:
        curate_smiles(tmp_path, [f"xyz{i}" for i in range(12)])
    path = str(refused.value).split("its reason is in ")[1].split(". Is 'smiles'")[0]
    assert pq.read_metadata(path).num_rows == 12
    with pytest.raises(InputError, match="0 of 12 rows"):
        curate_smiles(tmp_path, [f"xyz{i}" for i in range(12)])


def test_a_refused_source_leaves_no_folder(tmp_path: Path) -> None:
    path = write_csv(tmp_path, ["CCO"])
    recipe = recipe_for_file(path, labels={"y": "1"})
    path.write_text("smiles,z\nCCO,1\n")
    with pytest.raises(InputError, match="no column 'y'"):
        curate(recipe, home=tmp_path, workers=0)
    assert not list((tmp_path / "data").iterdir())
    for keys in ({"n": 0}, {"workers": -1}):
        with pytest.raises(InputError, match="n=0|workers=-1"):
            curate(recipe, home=tmp_path, **keys)


def test_slices_cover_all_rows_in_order() -> None:
    for n in (1, 24, 100, 4990, 200_000):
        pieces = cut_slices(n, 24)
        assert [piece.start for piece in pieces] == [0] + [piece.stop for piece in pieces[:-1]]
        assert pieces[-1].stop == n and max(p.stop - p.start for p in pieces) <= 2000


def test_a_home_may_bear_any_name(tmp_path: Path) -> None:
    (tmp_path / "it's [a] *").mkdir()
    (tmp_path / "it's a x").mkdir()  # which the name would match as a pattern
    home = tmp_path / "it's [a] *"
    shards = curate_smiles(home, ["CCO", "CCN", "c1ccccc1", "OCC"])
    assert (shards.n, len(shards.dropped())) == (3, 1)
    molecules = load_molecules(home / "mine.csv", workers=0, home=home, progress=False)
    scaffolds = query_molecules("SELECT scaffold FROM a ORDER BY row", a=molecules)["scaffold"]
    assert scaffolds.tolist() == ["", "", "c1ccccc1"]


def test_equal_keys_of_a_joined_table_stand_in_manifest_and_summary(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("smiles,key\nCCO,1\nCCN,2\n")
    (tmp_path / "b.csv").write_text("key,Act\n1,6\n1,7\n2,8\n")
    join = {"file": str(tmp_path / "b.csv"), "key": "key", "column": "key"}
    source = {"file": tmp_path / "a.csv", "join": join}
    shards = curate("chembl2321810", source=source, workers=0, home=tmp_path, progress=False)
    assert shards.table(["pic50"]).column(0).to_pylist() == [6.0, 8.0]
    assert shards.manifest["counts"]["repeated_join_keys"] == 1
    assert "joined table: 1 of its rows repeat the key of an earlier one" in shards.summary()
    recipe = with_source(load_recipe("chembl2321810"), source)
    other = make_recipe(recipe.model_dump() | {"citation": "b"})
    adopted = curate(other, workers=0, home=tmp_path, progress=False)
    assert adopted.manifest["counts"]["repeated_join_keys"] == 1


def test_a_recipe_can_be_curated_by_its_file(tmp_path: Path) -> None:
    write_csv(tmp_path, ["CCO", "CC[NH3+].[Cl-]"])
    recipe: Recipe = recipe_for_file(tmp_path / "mine.csv", labels={"y": "1"})
    content = recipe.model_dump(mode="json") | {"source": {"kind": "file", "file": "mine.csv"}}
    (tmp_path / "mine.yaml").write_text(json.dumps(content))  # JSON is YAML
    shards = curate(tmp_path / "mine.yaml", workers=0, home=tmp_path, progress=False)
    assert shards.smiles() == ["CCO", "CCN"] and shards.path.name.startswith("mine-")


def test_racemate_or_and_enantiomers_are_no_duplicates_and_stay_on_one_side(tmp_path: Path) -> None:
    rows = [
        "C[C@H](N)c1ccccc1 |o1:1|",
        "C[C@H](N)c1ccccc1 |&1:1|",
        "C[C@H](N)c1ccccc1",
        "C[C@@H](N)c1ccccc1",
        "CC(N)c1ccccc1",
        "C[C@@H](N)c1ccccc1 |&3:1|",
    ]
    path = tmp_path / "mine.csv"
    path.write_text("smiles,y\n" + "".join(f'"{row}",{i}\n' for i, row in enumerate(rows)))
    recipe = recipe_for_file(path, labels={"y": "1"})
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    table = shards.table(["row", "smiles", "stereo_groups", "group"]).to_pydict()
    assert table["row"] == [0, 1, 2, 3, 4]
    assert table["stereo_groups"] == ["o1:1", "&1:1", "", "", ""]
    assert table["smiles"][:3] == ["C[C@H](N)c1ccccc1"] * 3
    assert len(set(table["group"])) == 1
    (copy,) = shards.dropped().to_pylist()
    assert (copy["row"], copy["reason"], copy["detail"]) == (
        5,
        "same molecule as an earlier row",
        "row 1",
    )
    words = {"racemic or both isomers (&)": 1, "one of two isomers (or)": 1}
    assert shards.manifest["counts"]["stereo_groups"] == words
    assert "stereo beyond SMILES: one of two isomers (or) 1, racemic or both" in shards.summary()


def test_removed_fragments_are_stored_and_counted_by_kind(tmp_path: Path) -> None:
    rows = [
        "CNCc1ccccc1.Cl",
        "[Na+].OC(=O)c1cccc(Br)c1.O",
        "CCNCc1ccccc1.CCNCc1ccccc1.OS(=O)(=O)O",
        "NC(CC(=O)O)C(=O)O.CCCNCc1ccccc1",
        "CCO",
        "O=C=O.CCCCNCc1ccccc1",
    ]
    shards = curate_smiles(tmp_path, rows)
    removed = shards.table(["removed"]).column(0).to_pylist()
    assert removed == [
        "Cl",
        "O.[Na+]",
        "CCNCc1ccccc1.O=S(=O)(O)O",
        "NC(CC(=O)O)C(=O)O",
        "",
        "O=C=O",
    ]
    assert shards.manifest["counts"]["removed"] == {
        "counter-ion": 3,
        "further copy": 1,
        "inorganic": 1,
        "metal ion": 1,
        "solvent": 1,
    }
    assert "removed fragments: counter-ion 3, further copy 1, inorganic 1" in shards.summary()


def test_metal_compounds_are_dropped_unless_the_recipe_removes_the_metal(tmp_path: Path) -> None:
    rows = ["[CH-]1C=CC=C1.[CH-]1C=CC=C1.[Fe+2]", "C1C=CC=C1", "CCCC(=O)[O-].[Na+]"]
    shards = curate_smiles(tmp_path, rows)
    assert shards.table(["row"]).column(0).to_pylist() == [1, 2]
    (ferrocene,) = shards.dropped().to_pylist()
    assert ferrocene["reason"] == "organometallic or metal complex"
    removing = curate_smiles(tmp_path, rows, structure={"metals": "remove"})
    assert removing.table(["row"]).column(0).to_pylist() == [0, 2]
    assert removing.table(["removed"]).column(0).to_pylist() == ["C1=CCC=C1.[Fe+2]", "[Na+]"]
    assert removing.manifest["counts"]["removed"] == {"further copy": 1, "metal ion": 2}


def record(smiles: str, in_space: bool) -> str:
    """A molecule of an SD file, as it is drawn or with coordinates that another program made."""
    mol = Chem.MolFromSmiles(smiles)
    rdDepictor.Compute2DCoords(mol)
    conformer = mol.GetConformer()
    if in_space:
        positions = conformer.GetPositions()
        positions[::2, 2] += 0.5
        conformer.SetPositions(positions)
        conformer.Set3D(True)
    return Chem.MolToMolBlock(mol) + "\n$$$$\n"


@pytest.mark.parametrize(
    ("molecules", "n_replaced"),
    [
        ([("CCO", True), ("CCN", False), ("CCCC", True)], 2),
        # two geometries of one molecule: neither is kept
        ([("CCO", True), ("OCC", True), ("CCN", False)], 2),
        ([("CCO", False), ("CCN", False)], 0),
        ([("CCO", True), ("C" * 70, True)], 1),  # the second is over the size limit
    ],
)
def test_coordinates_of_the_source_that_are_replaced_are_counted(
    tmp_path: Path, molecules: list, n_replaced: int
) -> None:
    file = tmp_path / "mine.sdf"
    file.write_text("".join(record(*molecule) for molecule in molecules))
    recipe = recipe_for_file(file)
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    assert shards.manifest["counts"]["given_coords_replaced"] == n_replaced
    line = f"coordinates of {n_replaced} records were replaced by conformers made here"
    assert (line in shards.summary()) == (n_replaced > 0)
    changed = make_recipe(recipe.model_dump() | {"citation": "another folder, the same molecules"})
    adopted = curate(changed, workers=0, home=tmp_path, progress=False)
    assert adopted.manifest["adopted_from"] == shards.path.name
    assert adopted.manifest["counts"]["given_coords_replaced"] == n_replaced


def test_what_embedded_a_molecule_stands_in_its_row_and_is_counted(tmp_path: Path) -> None:
    shards = curate_smiles(tmp_path, ["CCO", "C1[C@H]2[C@@H]1[C@@H]1C[C@H]21", "CCN"])
    alone = "distance geometry alone"
    assert shards.table(["embedded_by"]).column(0).to_pylist() == ["ETKDGv3", alone, "ETKDGv3"]
    assert shards.manifest["counts"]["embedded_by"] == {"ETKDGv3": 2, alone: 1}
    assert "embedded by: ETKDGv3 2, distance geometry alone 1" in shards.summary()
    assert "embedded by" not in curate_smiles(tmp_path, ["CCO", "CCN"]).summary()
