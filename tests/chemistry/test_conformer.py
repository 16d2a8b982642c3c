"""Structures: any spelling of a molecule gives one answer, and what cannot be used says why."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

Chem = pytest.importorskip("rdkit.Chem")
from rdkit import RDConfig  # noqa: E402
from rdkit.Chem import rdDistGeom  # noqa: E402

from molnb.chemistry.conformer import _read_back, checked_coords, make_conformer, mirror
from molnb.chemistry.failures import MoleculeError, guarded
from molnb.chemistry.identity import identity_keys, murcko_scaffold, undefined_stereo
from molnb.chemistry.parsing import parse_molblock, parse_smiles
from molnb.chemistry.standardization import StandardizedMolecule, standardize

# one centre, several, a sulfoxide, a bridged ring, an axis of double bonds beside a centre, a sugar
CHIRAL = (
    "C[C@H](N)C(=O)O", "C[C@@H](O)[C@H](N)C(=O)O", "CC[S@](C)=O", "CC1(C)[C@@H]2CC[C@@]1(C)C(=O)C2",
    "C/C=C/[C@H](F)CC", "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O", "F[C@](Cl)(Br)I",
)  # fmt: skip


def nci(n: int) -> list[str]:
    lines = (Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi").read_text().splitlines()
    return [line.split()[0] for line in lines[:: len(lines) // n]][:n]


def kept(smiles: list[str]) -> list[StandardizedMolecule]:
    standards = []
    for s in smiles:
        try:
            standards.append(standardize(parse_smiles(s)))
        except MoleculeError:
            continue
    return standards


def respelled(smiles: str, n: int, seed: int = 1) -> list[str]:
    return Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), n, randomSeed=seed)


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("", "empty structure"),
        ("not a molecule", "unreadable structure"),
        ("C1CC", "unreadable structure"),
        ("C(C)(C)(C)(C)C", "impossible valence"),
        ("c1cccc1", "no Kekulé form"),
    ],
)
def test_an_unreadable_structure_fails_in_parse_with_its_reason(
    smiles: str, reason: str, capfd
) -> None:
    with pytest.raises(MoleculeError) as failure:
        parse_smiles(smiles)
    assert (failure.value.step, failure.value.reason) == ("parse", reason)
    assert capfd.readouterr().err == "", "RDKit's log is not the user's"


@pytest.mark.parametrize(
    ("smiles", "reason"),
    [
        ("[H][H]", "no heavy atoms"),
        ("*CC", "dummy atom"),
        ("[Na+].[Cl-]", "no parent fragment"),
        ("CCCCCCCCCCCCc1ccccc1.CCCCCCc1ccccc1", "two organic parents"),
        ("C[C@H](N)CCO.C[C@@H](N)CCO", "two organic parents"),
        ("C" * 65, "over the size limit"),
        ("C" * 2000, "over the size limit"),
    ],
)
def test_what_has_no_single_parent_fails_in_standardise(smiles: str, reason: str) -> None:
    with pytest.raises(MoleculeError) as failure:
        standardize(parse_smiles(smiles))
    assert (failure.value.step, failure.value.reason) == ("standardise", reason)


def test_the_size_limit_is_named_with_the_size() -> None:
    with pytest.raises(MoleculeError, match="65 heavy atoms, limit 64"):
        standardize(parse_smiles("C" * 65))
    assert standardize(parse_smiles("C" * 65), max_heavy_atoms=65).mol.GetNumAtoms() == 65


def test_a_failure_survives_the_way_back_from_a_worker() -> None:
    failure = pickle.loads(
        pickle.dumps(MoleculeError("over the size limit", "70 heavy atoms, limit 64"))
    )
    assert (failure.step, failure.reason) == ("standardise", "over the size limit")
    assert str(failure) == "standardise: over the size limit (70 heavy atoms, limit 64)"


@pytest.mark.parametrize(
    ("smiles", "parent", "n_removed"),
    [
        ("[Na+].CC(=O)[O-]", "CC(=O)O", 1),  # a counter-ion alone is the molecule
        ("CC(=O)[O-].C[NH2+]Cc1ccccc1", "CNCc1ccccc1", 1),  # an organic counter-ion is not
        (
            "Oc1c([N+](=O)[O-])cc([N+](=O)[O-])cc1[N+](=O)[O-].c1ccc2ncccc2c1",
            "c1ccc2ncccc2c1",
            1,
        ),  # a picrate
        ("OC(=O)/C=C\\C(=O)O.CNCc1ccccc1.O", "CNCc1ccccc1", 2),
        ("NC(N)=N.OC(O)=O", "N=C(N)N", 1),  # carbonic acid counts as inorganic
        ("CN(C)C=O.CCCCc1ccccc1", "CCCCc1ccccc1", 1),  # a solvent
        ("CCCCc1ccccc1.CCCCc1ccccc1.Cl", "CCCCc1ccccc1", 2),  # identical copies are one molecule
        ("[Na]OC(=O)CCCCc1ccccc1", "O=C(O)CCCCc1ccccc1", 1),  # a metal drawn as bound
        (
            "CC(=O)[O-].C[N+](C)(C)Cc1ccccc1",
            "C[N+](C)(C)Cc1ccccc1",
            1,
        ),  # no proton neutralises this
        ("C[N+](C)(C)CC(=O)[O-]", "C[N+](C)(C)CC(=O)[O-]", 0),  # a betaine stays zwitterionic
        ("[NH3+][C@@H](C)C(=O)[O-]", "C[C@H](N)C(=O)O", 0),
        ("CN(=O)=O", "C[N+](=O)[O-]", 0),
        ("C[S+]([O-])CC", "CCS(C)=O", 0),
        ("[H]/N=C(\\N)c1ccccc1", "N=C(N)c1ccccc1", 0),  # written with the imine's hydrogen
        ("[13CH3][CH2:7]O", "CCO", 0),
        ("O", "O", 0),
    ],
)
def test_the_neutral_parent(smiles: str, parent: str, n_removed: int) -> None:
    found = standardize(parse_smiles(smiles))
    assert (found.smiles, len(found.removed)) == (parent, n_removed)


def test_isotopes_are_cleared_and_counted_and_the_charge_is_kept() -> None:
    heavy = standardize(parse_smiles("[2H]C([2H])([13CH3])O"))
    assert (heavy.smiles, heavy.cleared_isotopes) == ("CCO", 3)
    assert standardize(parse_smiles("[Cl-].C[N+](C)(C)Cc1ccccc1")).charge == 1


def test_the_order_leads_back_to_the_atoms_of_the_input() -> None:
    fluoroacetate = standardize(parse_smiles("[Na+].[O-]C(=O)CF"))
    assert (fluoroacetate.smiles, fluoroacetate.order.tolist()) == ("O=C(O)CF", [3, 2, 1, 4, 5])
    for smiles in [
        *nci(150),
        "CS(C)=O",
        "[NH2+]=C1c2ccccc2CN1CC(=O)c1ccccc1",
        "[H]C([H])(O)N(=O)=O",
    ]:
        try:
            mol = parse_smiles(smiles)
            found = standardize(mol)
        except MoleculeError:
            continue
        there = [mol.GetAtomWithIdx(int(i)).GetAtomicNum() for i in found.order]
        assert there == [atom.GetAtomicNum() for atom in found.mol.GetAtoms()]
        assert len(set(found.order.tolist())) == len(there)
        for bond in found.mol.GetBonds():
            i, j = found.order[bond.GetBeginAtomIdx()], found.order[bond.GetEndAtomIdx()]
            assert mol.GetBondBetweenAtoms(int(i), int(j)) is not None


def test_the_smiles_is_a_fixed_point_and_standardising_twice_changes_nothing() -> None:
    for found in kept(nci(200)):
        assert Chem.MolToSmiles(Chem.MolFromSmiles(found.smiles)) == found.smiles
        assert standardize(parse_smiles(found.smiles)).smiles == found.smiles


def test_any_spelling_is_the_same_molecule() -> None:
    for smiles in [*nci(60), *CHIRAL]:
        try:
            found = standardize(parse_smiles(smiles)).smiles
        except MoleculeError:
            continue
        assert {standardize(parse_smiles(other)).smiles for other in respelled(smiles, 5)} == {
            found
        }


def test_a_mol_block_is_read_like_its_smiles() -> None:
    for smiles in CHIRAL[:4]:
        mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
        rdDistGeom.EmbedMolecule(mol, randomSeed=1)
        assert (
            standardize(parse_molblock(Chem.MolToMolBlock(mol))).smiles
            == standardize(parse_smiles(smiles)).smiles
        )
    with pytest.raises(MoleculeError, match="unreadable structure"):
        parse_molblock("nothing of the kind")


def test_keys_bring_stereoisomers_and_tautomers_together_and_keep_others_apart() -> None:
    def both(smiles: str) -> tuple[str, str]:
        return identity_keys(standardize(parse_smiles(smiles)).mol)

    assert both("C[C@H](N)C(=O)O") == both("C[C@@H](N)C(=O)O") == both("C[C@H]([NH3+])C(=O)[O-]")
    assert both("CC(=O)CC(C)=O")[1] == both("CC(O)=CC(C)=O")[1]
    assert both("Oc1ccccn1")[1] == both("O=c1cccc[nH]1")[1]
    assert both("CCO")[0] != both("CCN")[0] and both("CCO")[1] != both("CCN")[1]
    assert len(both("CCO")[0]) == 14


def test_scaffolds() -> None:
    assert murcko_scaffold(Chem.MolFromSmiles("CCCO")) == ""
    assert (
        murcko_scaffold(Chem.MolFromSmiles("Cc1ccc(C(=O)Nc2ccccn2)cc1")) == "O=C(Nc1ccccn1)c1ccccc1"
    )
    one, other = (
        murcko_scaffold(Chem.MolFromSmiles(s)) for s in ("C[C@H]1CC[C@@H](O)CC1", "CN1CCCCC1")
    )
    assert (one, other) == ("C1CCCCC1", "C1CCNCC1")


def test_open_stereo_is_counted_but_not_in_imines() -> None:
    counts = {
        "CC(F)Cl": 1,
        "C[C@H](F)Cl": 0,
        "CC=CC": 1,
        "C/C=C/C": 0,
        "CC(F)C=CCl": 2,
        "CC(N)=N": 0,
        "CCO": 0,
    }
    assert {s: undefined_stereo(Chem.MolFromSmiles(s)) for s in counts} == counts


def test_any_spelling_gets_the_same_geometry() -> None:
    for found in kept(nci(25)):
        geometry = make_conformer(found.smiles)
        for other in respelled(found.smiles, 3):
            assert np.array_equal(
                make_conformer(standardize(parse_smiles(other)).smiles).coords, geometry.coords
            )


def test_a_conformer_is_centred_and_holds_all_atoms_in_order() -> None:
    found = make_conformer("CCO")
    assert found.coords.shape == (9, 3) and found.coords.dtype == np.float32
    assert np.abs(found.coords.mean(axis=0)).max() < 1e-5
    lengths = np.linalg.norm(found.coords[[0, 1]] - found.coords[[1, 2]], axis=1)
    assert lengths == pytest.approx([1.51, 1.42], abs=0.03)  # C-C, C-O in Å
    assert (found.force_field, found.converged, found.smiles_3d) == ("MMFF94", True, "CCO")
    assert not np.array_equal(make_conformer("CCO", seed=1).coords, found.coords)


def test_uff_stands_in_where_mmff_has_no_parameters() -> None:
    assert make_conformer("C[Si](C)(C)B(O)O").force_field == "UFF"
    with pytest.raises(MoleculeError) as failure:
        make_conformer("O=[As]O")
    assert (failure.value.step, failure.value.reason) == ("conformer", "no force field parameters")


def test_energies_are_in_ev() -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles("CCO"))
    found = make_conformer("CCO")
    conformer = Chem.Conformer(mol.GetNumAtoms())
    conformer.SetPositions(found.coords.astype(float))
    mol.AddConformer(conformer)
    properties = Chem.rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    kcal_mol = Chem.rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties).CalcEnergy()
    assert found.energy == pytest.approx(kcal_mol / 23.060548, abs=1e-5)


def test_a_failing_embedding_is_a_typed_failure(monkeypatch) -> None:
    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", lambda *_: -1)
    with pytest.raises(MoleculeError) as failure:
        make_conformer("CCO")
    assert (failure.value.step, failure.value.reason) == ("conformer", "embedding failed")


def test_a_mixture_is_never_embedded() -> None:
    with pytest.raises(MoleculeError, match="not one readable fragment"):
        make_conformer("CCO.CCN")


def test_no_geometry_at_all_is_refused() -> None:
    for coords in (np.zeros((3, 3)), np.full((3, 3), np.nan)):
        with pytest.raises(MoleculeError, match="force field failed"):
            checked_coords(coords, "force field failed")


def test_an_exception_inside_rdkit_is_a_typed_failure(monkeypatch) -> None:
    def violate(*_):
        raise RuntimeError("Invariant Violation\n\n\tbad lower bound")

    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", violate)
    with pytest.raises(MoleculeError, match="bad lower bound, in the last of 4 attempts"):
        make_conformer("CCO")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: undefined_name, NameError),  # noqa: F821
        (lambda: Chem.MolFromSmiles("C").GetNumAtom(), AttributeError),
        (lambda: Chem.MolToSmiles(None), TypeError),  # Boost.Python.ArgumentError
        (lambda: {}["key"], KeyError),
        (lambda: [0][len("far")], IndexError),
    ],
)
def test_a_fault_of_the_program_is_not_taken_for_chemistry(call, error: type) -> None:
    with pytest.raises(error):
        guarded("embedding failed")(call)()


def test_what_rdkit_raises_is_a_typed_failure() -> None:
    pentavalent = Chem.MolFromSmiles("C(C)(C)(C)(C)C", sanitize=False)
    calls = {
        "AtomValenceException": lambda: Chem.SanitizeMol(pentavalent),
        "KekulizeException": lambda: Chem.Kekulize(Chem.MolFromSmiles("c1cccc1", sanitize=False)),
        "RuntimeError": lambda: Chem.MolFromSmiles("C").GetAtomWithIdx(7),
        "ValueError": lambda: Chem.MolFromSmiles("C").GetConformer(),
    }
    for name, call in calls.items():
        with pytest.raises(MoleculeError, match=f"sanitisation failed .{name}: "):
            guarded("sanitisation failed")(call)()


def test_a_second_attempt_follows_a_failed_one(monkeypatch) -> None:
    genuine, calls = rdDistGeom.EmbedMolecule, []

    def fail_once(mol, params):
        calls.append(params.useRandomCoords)
        return -1 if len(calls) == 1 else genuine(mol, params)

    monkeypatch.setattr(rdDistGeom, "EmbedMolecule", fail_once)
    assert make_conformer("CCO").attempts == 2
    assert calls == [False, True]


def test_the_isomer_chosen_for_open_stereo_is_read_back() -> None:
    found = make_conformer("CC(F)C=CCl")
    assert undefined_stereo(Chem.MolFromSmiles(found.smiles_3d)) == 0
    assert found.smiles_3d.count("@") == 1 and ("/" in found.smiles_3d or "\\" in found.smiles_3d)
    assert (
        make_conformer("C/C=C/[C@H](F)CC").smiles_3d
        == standardize(parse_smiles("C/C=C/[C@H](F)CC")).smiles
    )


@pytest.mark.parametrize("smiles", CHIRAL)
def test_enantiomers_get_mirror_image_conformers(smiles: str) -> None:
    one = standardize(parse_smiles(smiles))
    image = mirror(one.smiles)
    assert image != one.smiles and mirror(image) == one.smiles
    other = standardize(parse_smiles(image))
    a, b = make_conformer(one.smiles), make_conformer(other.smiles)
    assert (a.energy, a.smiles_3d, b.smiles_3d) == (b.energy, one.smiles, other.smiles)
    reflected = a.coords * np.array([-1, 1, 1])
    nearest = np.linalg.norm(reflected[:, None] - b.coords[None], axis=-1)
    match = nearest.argmin(axis=1)
    assert sorted(match) == list(range(len(match))) and nearest.min(axis=1).max() < 1e-6
    full = [[x.GetAtomicNum() for x in Chem.AddHs(m.mol).GetAtoms()] for m in (one, other)]
    assert full[0] == [full[1][i] for i in match]


def test_the_isomer_of_a_geometry_has_the_atoms_of_the_molecule() -> None:
    for smiles in (
        "N=C(N)NC(C)=CC",
        "Oc1ccc(O)c([PH](c2ccccc2)(c2ccccc2)c2ccccc2)c1",
    ):  # imine; five neighbours
        assert (
            Chem.MolFromSmiles(make_conformer(smiles).smiles_3d).GetNumAtoms()
            == Chem.MolFromSmiles(smiles).GetNumAtoms()
        )


def test_a_geometry_that_contradicts_the_drawing_is_refused() -> None:
    drawn = Chem.MolFromSmiles("C[C@H](F)Cl")
    with pytest.raises(MoleculeError, match="stereo not kept"):
        _read_back(drawn, Chem.AddHs(drawn), make_conformer("C[C@@H](F)Cl").coords.astype(float))


def test_the_mirror_image_of_an_achiral_molecule_is_itself() -> None:
    for smiles in ("CCO", "C[C@H]1CC[C@@H](C)CC1", "O[C@H](C(=O)O)[C@@H](O)C(=O)O", "C/C=C/C"):
        smiles = standardize(parse_smiles(smiles)).smiles
        assert mirror(smiles) == smiles
