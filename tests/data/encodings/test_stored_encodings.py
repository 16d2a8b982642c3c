"""Encodings kept beside shards are those that are computed, and reach every batch."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from curated_files import curate_smiles
from made_shards import make_shards
from quick_processes import run_script

from molnb.data.crops import cut
from molnb.data.dataset import Corpus
from molnb.data.encodings import catalogue, stored
from molnb.data.encodings.catalogue import encode, parse, with_encodings
from molnb.data.encodings.stored import keep_encodings
from molnb.data.inspection import inspect_shards
from molnb.data.verification import verify_shards
from molnb.errors import InputError
from molnb.models.interface import EncoderConfig
from molnb.shards import Shards, add_array, load_shards

NAMES = ("eigenpairs_8", "return_probabilities_16", "bond_electrostatic", "commute")


@pytest.fixture
def copied(untouched_nci: Path, tmp_path: Path) -> Shards:
    """A copy of real molecules, to be added to."""
    shutil.copytree(untouched_nci, tmp_path / "nci")
    return load_shards(tmp_path / "nci")


def computed(corpus: Corpus, ids: np.ndarray) -> dict[str, torch.Tensor]:
    """The encodings of a batch, from its bonds."""
    batch = with_encodings(corpus.batch(ids), NAMES)
    return {name: getattr(batch, parse(name).level)[name] for name in NAMES}


def check_carried(batch, expected: dict[str, torch.Tensor]) -> None:
    for name, values in expected.items():
        carried = getattr(batch, parse(name).level)[name]
        assert carried.dtype == torch.float32
        assert torch.equal(carried, values), name


@pytest.mark.parametrize("hydrogens", [False, True])
def test_what_is_kept_is_what_is_computed(copied, hydrogens, capsys, monkeypatch):
    monkeypatch.setattr(stored, "MOLECULES_AT_ONCE", 7)
    kept = keep_encodings(copied, NAMES, hydrogens)
    assert f"computed {', '.join(NAMES)} of {copied.n:,} molecules" in capsys.readouterr().err
    ids = np.arange(kept.n)[::-1].copy()
    expected = computed(Corpus([copied], hydrogens), ids)
    monkeypatch.setattr(catalogue, "encode_all", None)  # computes nothing any more
    check_carried(Corpus([kept], hydrogens, encodings=NAMES).batch(ids), expected)
    assert verify_shards(kept).differences == ()
    assert inspect_shards(kept)
    assert load_shards(kept.path).array_names == kept.array_names


def test_nothing_is_kept_for_hydrogens_unless_they_are_asked_for(copied):
    kept = keep_encodings(copied, NAMES)
    n_heavy = int(np.sum(kept.array("n_heavy")))
    n_heavy_bond = int(np.sum(kept.array("n_heavy_bond")))
    assert kept.array("eigenpairs_8").shape == (n_heavy, 16)
    assert kept.array("bond_electrostatic").shape == (n_heavy_bond, 2)
    assert kept.array_level("eigenpairs_8") == "heavy_atom"
    both = keep_encodings(kept, NAMES[:1], hydrogens=True)
    assert len(both.array("eigenpairs_8_all_atoms")) == int(both.array("atom_offset")[-1])
    assert both.array_level("eigenpairs_8_all_atoms") == "atom"
    assert both.array("eigenpairs_8").shape == (n_heavy, 16), "the other stays"


def test_they_are_computed_once(copied, capsys):
    kept = keep_encodings(copied, NAMES[:1])
    file = kept.path / "arrays" / "eigenpairs_8.npy"
    before = file.stat().st_mtime_ns
    capsys.readouterr()
    assert keep_encodings(kept, NAMES[:1]) is kept
    again = keep_encodings(copied, NAMES[:2])  # shards that were opened before
    assert file.stat().st_mtime_ns == before
    assert capsys.readouterr().err.count("eigenpairs_8") == 0
    assert set(NAMES[:2]) <= set(again.array_names)


def test_a_mix_reads_what_all_keep_and_computes_the_rest(copied, tmp_path):
    other = make_shards(tmp_path / "trees", n=40)
    kept = [keep_encodings(copied, NAMES[:3]), keep_encodings(other, NAMES[1:2])]
    corpus = Corpus(kept, encodings=NAMES)
    ids = np.array([corpus.n - 3, 4, copied.n + 1, 7])
    check_carried(corpus.batch(ids), computed(Corpus([copied, other]), ids))
    both = Corpus([keep_encodings(shards, NAMES) for shards in kept], encodings=NAMES)
    check_carried(both.batch(ids), computed(Corpus([copied, other]), ids))


def test_crops_cut_them_with_the_atoms_and_bonds_they_belong_to(nci):
    batch = Corpus([nci], encodings=NAMES).batch(np.array([0, 1]))
    keep = torch.ones(len(batch.numbers), dtype=torch.bool)
    keep[0] = False
    piece = cut(batch, keep)
    assert torch.equal(piece.atom["eigenpairs_8"], batch.atom["eigenpairs_8"][1:])
    stays = keep[batch.bond_ends()].all(1)
    assert torch.equal(piece.bond["bond_electrostatic"], batch.bond["bond_electrostatic"][stays])


def test_a_folder_that_cannot_be_written_to_has_them_computed_for_each_batch(copied, capsys):
    (copied.path / ".adding").mkdir()  # refuses also a user who may write everywhere
    same = keep_encodings(copied, NAMES)
    assert keep_encodings(copied, NAMES) is copied and same is copied
    assert capsys.readouterr().err.count("computed for each batch") == 1, "said once"
    ids = np.arange(5)
    check_carried(Corpus([same], encodings=NAMES).batch(ids), computed(Corpus([copied]), ids))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_stays_as_it_is(copied):
    copied.path.chmod(0o555)
    try:
        assert keep_encodings(copied, NAMES) is copied
    finally:
        copied.path.chmod(0o755)


@pytest.mark.parametrize("step", ["encode_all", "enter_arrays"])
def test_an_interruption_leaves_no_half_and_the_next_call_finishes(copied, monkeypatch, step):
    """Stopped at its third piece of molecules, or before the manifest names what was written."""
    monkeypatch.setattr(stored, "MOLECULES_AT_ONCE", 7)
    turns = iter([False, False, True] if step == "encode_all" else [True])
    plain = getattr(stored, step)

    def interrupted(*arguments):
        if next(turns):
            raise KeyboardInterrupt
        return plain(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(stored, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            keep_encodings(copied, NAMES)
    assert not list((copied.path / "arrays").glob(".*")), "no half-written file"
    assert load_shards(copied.path).array_names == copied.array_names
    kept = keep_encodings(copied, NAMES)
    assert verify_shards(kept).differences == ()
    assert set(NAMES) <= set(kept.array_names)


def test_processes_that_add_to_one_folder_at_once_take_turns(tmp_path):
    """Four processes, each with an array and an encoding of its own: all are there in the end."""
    shards = make_shards(tmp_path / "trees", n=40)
    code = """
import sys, numpy as np
from molnb.shards import load_shards, add_array
from molnb.data.encodings.stored import keep_encodings
shards = load_shards(sys.argv[1])
number = int(sys.argv[2])
for turn in range(3):
    add_array(shards, f"mine_{number}_{turn}", "molecule", np.full(shards.n, number))
keep_encodings(shards, [f"transitions_{number + 1}", "commute"])
"""
    script = tmp_path / "add.py"
    script.write_text(code)
    with ThreadPoolExecutor(4) as pool:
        done = pool.map(lambda number: run_script(script, shards.path, number), range(4))
        assert [process.returncode for process in done] == [0] * 4
    together = load_shards(shards.path)
    assert verify_shards(together).differences == ()
    for number in range(4):
        assert f"transitions_{number + 1}" in together.array_names
        for turn in range(3):
            assert (together.array(f"mine_{number}_{turn}") == number).all()


def test_an_array_of_ones_own_under_the_name_of_an_encoding_is_not_taken_for_it(copied):
    n_atom = int(copied.array("atom_offset")[-1])
    mine = add_array(copied, "commute", "atom", np.zeros((n_atom, 6)))
    for call in (
        lambda: keep_encodings(mine, ["commute"]),
        lambda: Corpus([mine], encodings=["commute"]),
    ):
        with pytest.raises(InputError, match="array 'commute' that is no encoding"):
            call()


def test_an_array_of_heavy_atoms_is_read_without_hydrogens_only(copied):
    n_heavy = int(np.sum(copied.array("n_heavy")))
    shards = add_array(copied, "number", "heavy_atom", np.arange(n_heavy))
    assert verify_shards(shards).differences == ()
    corpus = Corpus([shards], arrays=["number"])
    batch = corpus.batch(np.array([5, 2]))
    starts = np.cumsum(corpus.n_atoms) - corpus.n_atoms
    expected = [*range(starts[5], starts[6]), *range(starts[2], starts[3])]
    assert batch.atom["number"].tolist() == expected
    with pytest.raises(InputError, match="rows for heavy atoms alone, and hydrogens are asked for"):
        Corpus([shards], hydrogens=True, arrays=["number"])
    with pytest.raises(InputError, match="an array of heavy bonds of"):
        add_array(copied, "short", "heavy_bond", np.zeros(3))


def test_unknown_names_are_refused_before_anything_is_read(nci):
    with pytest.raises(InputError, match="did you mean 'commute'"):
        Corpus([nci], encodings=["comute"])
    with pytest.raises(InputError, match="a batch carries encodings of atoms and bonds"):
        Corpus([nci], encodings=["pair_hops"])


def test_a_configuration_names_the_encodings_that_its_encoder_reads():
    @dataclass(frozen=True)
    class Config(EncoderConfig):
        family: ClassVar[str] = "reader"

    config = Config(encodings=NAMES)
    assert Config.from_dict(config.to_dict()) == config
    older = config.to_dict()
    del older["encodings"]
    assert Config.from_dict(older).encodings == ()


def test_several_geometries_of_a_molecule_share_its_encodings(tmp_path):
    """The graph is one, whichever conformer is read."""
    shards = curate_smiles(tmp_path, ["CCCCO", "NCCCC", "CCOCCC"], conformers={"n": 3})
    corpus = Corpus([keep_encodings(shards, NAMES)], encodings=NAMES)
    ids = np.arange(corpus.n)
    assert corpus.n_conformers(ids).max() > 1
    first = corpus.batch(ids)
    last = corpus.batch(ids, conformers=corpus.n_conformers(ids) - 1)
    assert not torch.equal(first.coords, last.coords)
    assert torch.equal(first.atom["eigenpairs_8"], last.atom["eigenpairs_8"])
    bonds = first.bond_ends().numpy()
    assert np.array_equal(
        first.atom["commute"].numpy(), encode("commute", first.n_atoms.numpy(), bonds)
    )
