"""Curation loses nothing silently, goes on where it was killed, and computes no conformer twice."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from molnb.chemistry import standardization
from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.xtb import MISSING_REASONS
from molnb.curation import chunks, pipeline
from molnb.curation.chunks import DIED, Job, label_slice
from molnb.curation.grouping import connected_groups
from molnb.curation.passes import cut_slices
from molnb.curation.pipeline import curate
from molnb.curation.smiles_corpus import load_molecules, query_molecules
from molnb.curation.splits import assign_groups
from molnb.errors import InputError
from molnb.processes import Slice
from molnb.recipes import digests
from molnb.recipes.registry import load_recipe, make_recipe
from molnb.recipes.schema import Recipe
from molnb.recipes.sources import recipe_for_file, with_source
from molnb.rng import sample_rows
from molnb.shards import SPLIT_VALUES, Shards


@pytest.fixture(scope="module")
def nci(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    """A hundred rows of nci with all labels, by two workers."""
    return curate("nci", n=100, workers=2, home=tmp_path_factory.mktemp("nci"), progress=False)


def write_csv(folder: Path, smiles: list[str], name: str = "mine") -> Path:
    path = folder / f"{name}.csv"
    path.write_text("smiles,y\n" + "".join(f"{s},{i}\n" for i, s in enumerate(smiles)))
    return path


def curate_here(folder: Path, smiles: list[str], **keys) -> Shards:
    recipe = recipe_for_file(write_csv(folder, smiles), labels={"y": "1"})
    recipe = make_recipe(recipe.model_dump() | keys)
    return curate(recipe, workers=0, home=folder, progress=False)


def file_digests(shards: Shards) -> dict[str, str]:
    return {
        name: hashlib.sha256((shards.path / name).read_bytes()).hexdigest()
        for name in shards.manifest["files"]
    }


# ---------------------------------------------------------- nothing lost


def test_every_sampled_row_is_a_molecule_or_dropped_with_its_reason(nci: Shards) -> None:
    m, dropped = nci.manifest, nci.dropped()
    rows = nci.table(["row"]).column(0).to_pylist() + dropped.column("row").to_pylist()
    assert sorted(rows) == sample_rows(4999, 100).tolist()
    assert (m["n_source"], m["n_sampled"], m["n_kept"] + m["n_dropped"]) == (4999, 100, 100)
    assert all(dropped.column("step").to_pylist()) and all(dropped.column("reason").to_pylist())
    assert sum(n for reasons in m["dropped"].values() for n in reasons.values()) == len(dropped)


@pytest.mark.parametrize(
    ("smiles", "step", "reason"),
    [
        ("", "parse", "empty structure"),
        ("C1CC", "parse", "unreadable structure"),
        ("CC(C)(C)(C)C", "parse", "impossible valence"),
        ("[H][H]", "standardise", "no heavy atoms"),
        ("CCCCCCCCCCCC" * 6, "standardise", "over the size limit"),
        ("c1ccc2ccccc2c1.C1CCC2CCCCC2C1", "standardise", "two organic parents"),
        ("OCC", "duplicate", "same molecule as an earlier row"),
    ],
)
def test_what_cannot_be_used_is_dropped_with_step_and_reason(
    tmp_path: Path, smiles: str, step: str, reason: str
) -> None:
    shards = curate_here(tmp_path, ["CCO", smiles])
    (row,) = shards.dropped().to_pylist()
    assert (row["row"], row["line"], row["input_smiles"], row["step"]) == (1, 3, smiles, step)
    assert row["reason"] == reason and shards.manifest["dropped"] == {step: {reason: 1}}


def test_the_nci_rows_that_do_not_parse_are_eight() -> None:
    rows = [row.split("\t")[0] for row in _nci_file().read_text().splitlines()]
    failed = 0
    for smiles in rows:
        try:
            chunks.parse_smiles(smiles)
        except MoleculeError as failure:
            failed += failure.step == "parse"
    assert (len(rows), failed) == (4999, 8)


def _nci_file() -> Path:
    from molnb.recipes.sources import source_path

    recipe = load_recipe("nci")
    return source_path(recipe.source, recipe.folder)


def test_a_failing_embedding_is_a_typed_failure_not_a_geometry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def embed(smiles: str, seed: int):
        if smiles == "CCO":
            raise MoleculeError("embedding failed", "4 attempts")
        return real(smiles, seed)

    real = chunks.make_conformer
    monkeypatch.setattr(chunks, "make_conformer", embed)
    shards = curate_here(tmp_path, ["CCO", "CCN"])
    assert shards.smiles() == ["CCN"]
    assert [(row["step"], row["reason"]) for row in shards.dropped().to_pylist()] == [
        ("conformer", "embedding failed")
    ]


def test_a_typo_in_the_program_is_not_counted_as_chemistry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = standardization.without_hydrogens

    def with_typo(mol):
        if mol.GetNumAtoms() == 4:
            return genuine(molecule)  # noqa: F821
        return genuine(mol)

    monkeypatch.setattr(standardization, "without_hydrogens", with_typo)
    smiles = ["C" * i for i in range(1, 7)]
    shards = curate_here(tmp_path, smiles)
    (row,) = shards.dropped().to_pylist()
    assert (row["input_smiles"], row["reason"]) == ("CCCC", "unexpected error")
    assert row["detail"] == "NameError: name 'molecule' is not defined"
    monkeypatch.setattr(standardization, "without_hydrogens", lambda mol: mol.NoSuchMethod())
    with pytest.raises(RuntimeError, match="every one of 6 rows failed unexpectedly.*NoSuchMethod"):
        curate_here(tmp_path, [text + "O" for text in smiles])


def test_only_invalid_smiles_are_refused_and_still_accounted_for(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"0 of 12 rows of .*mine.csv became molecules \(unreadable structure 12\)",
    ) as refused:
        curate_here(tmp_path, [f"xyz{i}" for i in range(12)])
    path = str(refused.value).split("its reason is in ")[1].split(". Is 'smiles'")[0]
    assert pq.read_metadata(path).num_rows == 12
    with pytest.raises(InputError, match="0 of 12 rows"):
        curate_here(tmp_path, [f"xyz{i}" for i in range(12)])


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


# ---------------------------------------------------------- labels of nci


def test_meaningless_labels_are_missing_with_their_reason(nci: Shards) -> None:
    table = nci.table()
    computed = [label["name"] for task in nci.tasks.values() for label in task["labels"]] + [
        "energy"
    ]
    for row in table.select([*computed, "missing", "charge", "converged"]).to_pylist():
        for name in computed:
            assert (row[name] is None) == (row["missing"] is not None)
        assert row["missing"] is None or row["missing"] in MISSING_REASONS
        assert row["missing"] is not None or (row["charge"] == 0 and row["converged"])
    for label in nci.manifest["labels"].values():
        assert label["known"] + sum(label["missing"].values()) == nci.n


def test_labels_of_every_level_fit_the_stored_atoms_bonds_and_pairs(nci: Shards) -> None:
    counts = {"molecule": np.ones(nci.n, int), "atom": np.diff(nci.array("atom_offset"))}
    counts["bond"] = np.diff(nci.array("bond_offset"))
    counts["pair"] = nci.array("n_heavy") * (nci.array("n_heavy") - 1) // 2
    for name, task in nci.tasks.items():
        index, offset, values = (
            nci.array(f"{name}.{part}") for part in ("index", "offset", "values")
        )
        np.testing.assert_array_equal(np.diff(offset), counts[task["level"]][index])
        assert values.shape == (offset[-1], len(task["labels"])) and np.isfinite(values).all()
    charges, offset = nci.array("nci_charges.values"), nci.array("nci_charges.offset")
    totals = [charges[a:b].sum() for a, b in zip(offset, offset[1:], strict=False)]
    np.testing.assert_allclose(
        totals, nci.array("charge")[nci.array("nci_charges.index")], atol=1e-4
    )


def test_bond_orders_of_bonds_are_those_of_their_pairs(nci: Shards) -> None:
    for row in nci.table(["bonds", "wiberg", "wiberg_pair", "n_heavy"]).slice(0, 20).to_pylist():
        if row["wiberg"] is None:
            continue
        matrix = np.zeros((row["n_heavy"],) * 2)
        matrix[np.triu_indices(row["n_heavy"], 1)] = row["wiberg_pair"]
        for (i, j), order in zip(np.reshape(row["bonds"], (-1, 2)), row["wiberg"], strict=True):
            assert order > 0.4  # a drawn bond is a bond
            assert j >= row["n_heavy"] or matrix[i, j] == pytest.approx(order)


def test_the_energy_residual_is_fitted_on_training_rows_of_the_default_split(nci: Shards) -> None:
    table = nci.table(
        ["energy", "energy_residual", "numbers", f"split_{nci.manifest['default_split']}"]
    )
    energy, residual = (
        np.array(table.column(c).to_pylist(), float) for c in ("energy", "energy_residual")
    )
    fit = nci.manifest["fits"]["energy_residual"]["per_element"]
    train = (table.column(3).to_numpy() == 0) & ~np.isnan(energy)
    elements = sorted(map(int, fit))
    counts = np.array(
        [[numbers.count(z) for z in elements] for numbers in table.column("numbers").to_pylist()]
    )
    best = np.linalg.lstsq(counts[train], energy[train], rcond=None)[0]
    known = ~np.isnan(residual)
    np.testing.assert_allclose(residual[known], (energy - counts @ best)[known], atol=1e-5)
    assert "energy" not in {
        label["name"] for task in nci.tasks.values() for label in task["labels"]
    }


# ---------------------------------------------------------- splits


def test_splits_have_their_sizes_and_loose_groups_stay_on_one_side(nci: Shards) -> None:
    table = nci.table(["group", "scaffold", "split_random", "split_scaffold"]).to_pylist()
    for name, report in nci.manifest["splits"].items():
        assert (
            report["val"] == report["test"] == round(0.1 * nci.n)
            and 0 < report["nn_similarity_median"] < 1
        )
        assert Counter(SPLIT_VALUES[row[f"split_{name}"]] for row in table) == {
            s: report[s] for s in SPLIT_VALUES
        }
        sides = {}
        for row in table:
            assert sides.setdefault(row["group"], row[f"split_{name}"]) == row[f"split_{name}"]
    sides = {}
    for row in table:
        assert (
            not row["scaffold"]
            or sides.setdefault(row["scaffold"], row["split_scaffold"]) == row["split_scaffold"]
        )


def test_stereoisomers_salts_and_tautomers_share_a_group_and_may_be_dropped(tmp_path: Path) -> None:
    smiles = [
        "C[C@H](N)C(=O)O",
        "C[C@@H](N)C(=O)O",
        "Oc1ccccn1",
        "O=c1cccc[nH]1",
        "CCCC",
        "C[C@H](N)C(=O)O.Cl",
    ]
    shards = curate_here(tmp_path, smiles)
    assert shards.table(["group"]).column(0).to_pylist() == [0, 0, 2, 2, 4]
    assert shards.manifest["counts"]["loose_duplicates"] == 2
    shards = curate_here(tmp_path, smiles, structure={"loose_duplicates": "drop"})
    assert shards.table(["row"]).column(0).to_pylist() == [0, 2, 4]
    reasons = Counter(row["reason"] for row in shards.dropped().to_pylist())
    assert reasons == {
        "stereoisomer or tautomer of an earlier row": 2,
        "same molecule as an earlier row": 1,
    }


def test_copies_that_disagree_are_counted(tmp_path: Path) -> None:
    shards = curate_here(tmp_path, ["CCO", "OCC", "CCN"])
    assert shards.manifest["counts"]["duplicates"] == {
        "copies": 1,
        "conflicting": 1,
        "known_only_in_a_copy": 0,
    }
    assert shards.dropped().to_pylist()[0]["detail"] == "row 0"


def test_groups_are_connected_components_whatever_the_order_of_rows() -> None:
    random = np.random.default_rng(0)
    keys = [[f"{c}{k}" if k else "" for k in random.integers(0, 60, 80)] for c in "ab"]
    keys[0][3] = None
    groups = connected_groups(pa.table({"a": keys[0], "b": keys[1]}))
    plain = np.arange(80)
    for _ in range(80):  # every row takes the least number of any row it shares a key with
        for column in keys:
            for key in {key for key in column if key}:
                rows = [i for i, value in enumerate(column) if value == key]
                plain[rows] = plain[rows].min()
    assert groups.tolist() == np.unique(plain, return_inverse=True)[1].tolist()
    assert 1 < groups.max() < 79


def test_a_large_group_is_training_data_and_sides_are_exact_to_within_a_group() -> None:
    sizes = np.array([40, 3, 3, 3, 1, 1, 20, 1, 1, 1, 1] + [1] * 25)
    side = assign_groups(sizes, (0.8, 0.1, 0.1))
    assert side[0] == side[6] == 0
    assert [int(sizes[side == s].sum()) for s in (1, 2)] == [10, 10]


def test_samples_nest_and_slices_cover() -> None:
    assert set(sample_rows(5000, 50)) < set(sample_rows(5000, 200))
    assert sample_rows(5000, 5000).tolist() == list(range(5000))
    for n in (1, 24, 100, 4990, 200_000):
        pieces = cut_slices(n, 24)
        assert [piece.start for piece in pieces] == [0] + [piece.stop for piece in pieces[:-1]]
        assert pieces[-1].stop == n and max(p.stop - p.start for p in pieces) <= 2000


def test_round_activities_are_flagged(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("smiles,Act\nCCO,6.00\nCCN,5.0\nCCC,5.01\nCCCC,\n")
    shards = curate(
        "chembl2321810", source=tmp_path / "a.csv", workers=0, home=tmp_path, progress=False
    )
    assert shards.table(["probably_censored"]).column(0).to_pylist() == [True, True, False, False]


# ---------------------------------------------------------- loading and sharing


def refuse_conformers(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on a conformer that is computed fails the test."""
    monkeypatch.setattr(
        chunks, "make_conformer", lambda *_: pytest.fail("a conformer was computed")
    )


def test_a_second_call_only_loads(nci: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_conformers(monkeypatch)
    for name in ("Pool", "take_snapshot", "finish"):
        monkeypatch.setattr(pipeline, name, lambda *_: pytest.fail("there was nothing to do"))
    again = curate("nci", n=100, home=nci.path.parent.parent, progress=False)
    assert again.manifest == nci.manifest


@pytest.mark.parametrize("joined", [False, True])
def test_finished_molecules_are_found_with_the_source_gone_where_its_digest_is_stated(
    tmp_path: Path, joined: bool
) -> None:
    (tmp_path / "a.csv").write_text("smiles,key,Act\nCCO,1,6\nCCN,2,7\n")
    (tmp_path / "b.csv").write_text("key,Act\n1,6\n2,7\n")
    a, b = (hashlib.sha256((tmp_path / f).read_bytes()).hexdigest() for f in ("a.csv", "b.csv"))
    source = {"file": tmp_path / "a.csv", "sha256": a}
    if joined:
        join = {"file": str(tmp_path / "b.csv"), "key": "key", "column": "key", "sha256": b}
        source["join"] = join
    recipe = with_source(load_recipe("chembl2321810"), source)
    shards = curate(recipe, workers=0, home=tmp_path, progress=False)
    molecules = load_molecules(recipe, workers=0, home=tmp_path, progress=False)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).unlink()
    again = curate(recipe, home=tmp_path, progress=False)
    assert (again.path, again.manifest) == (shards.path, shards.manifest)
    assert load_molecules(recipe, home=tmp_path, progress=False) == molecules
    with pytest.raises(InputError, match="There is no file .*a.csv"):
        curate(recipe, n=1, home=tmp_path, progress=False)  # these were not made before


def test_a_source_without_a_stated_digest_is_read_for_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    plain = digests.file_digest
    monkeypatch.setattr(digests, "file_digest", lambda path: hashed.append(path) or plain(path))
    path = write_csv(tmp_path, ["CCO", "CCN"])
    os.utime(path, (1000, 1000))
    recipe = recipe_for_file(path)
    for _ in range(2):
        shards = curate(recipe, workers=0, home=tmp_path, progress=False)
        load_molecules(recipe, workers=0, home=tmp_path, progress=False)
    assert len(hashed) == 1
    os.utime(path, (2000, 2000))
    assert curate(recipe, workers=0, home=tmp_path, progress=False).path == shards.path
    assert len(hashed) == 2, "the time of change is another one"


def test_a_home_may_bear_any_name(tmp_path: Path) -> None:
    (tmp_path / "it's [a] *").mkdir()
    (tmp_path / "it's a x").mkdir()  # which the name would match as a pattern
    home = tmp_path / "it's [a] *"
    shards = curate_here(home, ["CCO", "CCN", "c1ccccc1", "OCC"])
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
    other = make_recipe(
        with_source(load_recipe("chembl2321810"), source).model_dump() | {"citation": "b"}
    )
    adopted = curate(other, workers=0, home=tmp_path, progress=False)
    assert adopted.manifest["counts"]["repeated_join_keys"] == 1


def test_another_version_is_reported_before_reuse(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shards = curate_here(tmp_path, ["CCO"])
    shards.manifest["versions"]["rdkit"] = "1999.1"
    (shards.path / "manifest.json").write_text(json.dumps(shards.manifest))
    curate_here(tmp_path, ["CCO"])
    assert "was made with rdkit 1999.1 (here" in capsys.readouterr().err


def test_a_new_split_or_citation_computes_no_conformer_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smiles = ["CCO", "CCN", "c1ccccc1", "CCCl", "C1CC"]
    before = curate_here(tmp_path, smiles)
    refuse_conformers(monkeypatch)
    splits = {"other": {"kind": "random", "fractions": [0.5, 0.25, 0.25], "seed": 7}}
    after = curate_here(tmp_path, smiles, splits=splits, default_split="other", citation="a paper")
    assert after.path != before.path and list(after.manifest["splits"]) == ["other"]
    assert (
        after.table(["coords"]) == before.table(["coords"]) and after.dropped() == before.dropped()
    )
    assert not (after.path / "work").exists()


def test_an_atomic_part_of_an_unfinished_sibling_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smiles = ["C" * i for i in range(1, 31)]
    monkeypatch.setattr(pipeline, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        curate_here(tmp_path, smiles)
    monkeypatch.undo()
    refuse_conformers(monkeypatch)
    assert curate_here(tmp_path, smiles, citation="a paper").n == 30


# ---------------------------------------------------------- killed and full


RUN = """
import sys
from molnb import curate
curate("wehi", n=60, workers=2, home=sys.argv[1], progress=False)
"""


def _start(home: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", RUN, str(home)], start_new_session=True)


def _kill_and_restart(home: Path, kills: int, seconds: float) -> tuple[Shards, int]:
    """Kill a run, which takes so many seconds undisturbed, at random moments; finish it."""
    draw = np.random.default_rng(kills)
    killed = 0
    for kill in range(kills):
        with _start(home) as process:
            try:
                process.wait(timeout=seconds * float(draw.uniform(0.3, 0.9)))
            except subprocess.TimeoutExpired:
                killed += 1
                # The parent alone, or everything at once: both happen to people.
                os.kill(process.pid, signal.SIGKILL) if kill % 2 else os.killpg(
                    process.pid, signal.SIGKILL
                )
    return curate("wehi", n=60, workers=1, home=home, progress=False), killed


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_random_moments_curation_ends_in_the_same_files(
    tmp_path: Path, kills: int
) -> None:
    began = time.monotonic()
    with _start(tmp_path / "straight") as process:
        assert process.wait() == 0
    seconds = time.monotonic() - began
    straight = curate("wehi", n=60, home=tmp_path / "straight", progress=False)
    resumed, killed = _kill_and_restart(tmp_path / "killed", kills, seconds)
    assert killed > 0 and file_digests(resumed) == file_digests(straight)
    assert not [path for path in resumed.path.rglob("*") if path.name.endswith(".tmp")]


AT_WORK = """
import time
from molnb.processes import Pool
print(Pool(2).submit(abs, -1).result(), flush=True)
time.sleep(60)
"""


def test_workers_do_not_outlive_a_killed_process() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", AT_WORK], stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout.readline() == b"1\n"
        process.kill()
        try:
            process.communicate(timeout=20)  # until the last one that could still write has ended
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


DEADLY = ("CCCCCl",)


def deadly_label_slice(job: Job, piece: Slice, write: bool = True) -> None:
    """Label a slice, but die of certain molecules the way a segmentation fault does."""
    for position, row in enumerate(
        chunks.read_rows(job.work / "kept.parquet", np.arange(piece.start, piece.stop)).to_pylist()
    ):
        if row["smiles"] in DEADLY and piece.start + position not in piece.died:
            os.kill(os.getpid(), signal.SIGKILL)
    label_slice(job, piece, write)


def test_a_row_that_kills_its_worker_is_found_and_dropped_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadly = pipeline.LABELLING._replace(work=deadly_label_slice)
    monkeypatch.setattr(pipeline, "LABELLING", deadly)
    smiles = ["C" * i + x for i in range(1, 11) for x in ("O", "Cl", "Br")]
    recipe = recipe_for_file(write_csv(tmp_path, smiles))
    shards = curate(recipe, workers=2, home=tmp_path, progress=False)
    assert [(r["input_smiles"], r["step"], r["reason"]) for r in shards.dropped().to_pylist()] == [
        (smiles, "worker", DIED) for smiles in DEADLY
    ]
    assert shards.n == len(smiles) - 1


def test_a_full_disk_is_refused_keeps_finished_slices_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace(source: Path, target: Path) -> None:
        if "arrays" in str(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    real = os.replace
    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(
        InputError, match="The disk is full: could not write .*arrays.*finished slices are kept"
    ):
        curate_here(tmp_path, ["CCO", "CCN"])
    monkeypatch.undo()
    refuse_conformers(monkeypatch)
    assert curate_here(tmp_path, ["CCO", "CCN"]).n == 2


def test_a_full_disk_under_the_workers_is_refused(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (6000, {resource.RLIM_INFINITY}))
from molnb import curate
from molnb.recipes.sources import recipe_for_file
curate(recipe_for_file(sys.argv[1]), workers=1, home=sys.argv[2], progress=False)
"""
    path = write_csv(tmp_path, ["C" * i for i in range(1, 40)])
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path)], capture_output=True, text=True
    )
    assert "molnb.errors.InputError: The disk is full: could not write" in done.stderr


def test_two_processes_do_not_work_on_one_folder(tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    shards = curate_here(tmp_path, ["CCO"])
    (shards.path / "manifest.json").unlink()
    with (shards.path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="Another process is curating"):
            curate_here(tmp_path, ["CCO"])


def test_a_recipe_can_be_curated_by_its_file(tmp_path: Path) -> None:
    write_csv(tmp_path, ["CCO", "CC[NH3+].[Cl-]"])
    recipe: Recipe = recipe_for_file(tmp_path / "mine.csv", labels={"y": "1"})
    content = recipe.model_dump(mode="json") | {"source": {"kind": "file", "file": "mine.csv"}}
    (tmp_path / "mine.yaml").write_text(json.dumps(content))  # JSON is YAML
    shards = curate(tmp_path / "mine.yaml", workers=0, home=tmp_path, progress=False)
    assert shards.smiles() == ["CCO", "CCN"] and shards.path.name.startswith("mine-")


def test_labels_can_be_left_out(tmp_path):
    bare = curate("nci", n=12, labels=False, workers=0, home=tmp_path, progress=False)
    whole = curate("chembl2321810", n=4, labels=False, workers=0, home=tmp_path, progress=False)
    assert bare.manifest["tasks"] == {} and "homo" not in bare.table().column_names
    assert "pic50" in whole.manifest["tasks"]  # given, not computed
