"""RDKit molecule -> integer arrays: what a model sees of atoms and bonds before any geometry.

Columns 0 to 7 of the atoms and all columns of the bonds are indices into the value lists of the
Open Graph Benchmark (Hu et al., NeurIPS 2020), which the Uni-Mol2 weights expect; its first column,
the atomic number, is ``numbers`` here. Column 8 is ours: OGB's chirality tag depends on the order
in which neighbours are written, the parity does not. What follows, of atoms from column 9 and of
bonds from column 3, is what graph networks read beside: valence and rings.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from rdkit import Chem

from ..shapes import UInt8
from .parsing import atoms

ATOM_FEATURES = (
    "chirality",
    "degree",
    "charge",
    "hydrogens",
    "radicals",
    "hybridisation",
    "aromatic",
    "ring",
    "parity",
    "valence",
    "smallest_ring",
    "largest_ring",
    "n_ring",
)
BOND_FEATURES = ("type", "stereo", "conjugated", "ring")
# Number of values a column can take.
ATOM_FEATURE_SIZES = (7, 12, 12, 10, 6, 6, 2, 2, 3, 16, 256, 256, 16)
BOND_FEATURE_SIZES = (5, 6, 2, 2)

_TAG = Chem.ChiralType
_HYBRID = Chem.HybridizationType
_STEREO = Chem.BondStereo
_BOND = Chem.BondType
_CHIRALITY = {
    _TAG.CHI_UNSPECIFIED: 0,
    _TAG.CHI_TETRAHEDRAL_CW: 1,
    _TAG.CHI_TETRAHEDRAL_CCW: 2,
    _TAG.CHI_TRIGONALBIPYRAMIDAL: 3,
    _TAG.CHI_OCTAHEDRAL: 4,
    _TAG.CHI_SQUAREPLANAR: 5,
}
_OTHER_CHIRALITY = 6  # CHI_OTHER, and CHI_TETRAHEDRAL and CHI_ALLENE, which OGB does not know
_HYBRIDISATION = {_HYBRID.SP: 0, _HYBRID.SP2: 1, _HYBRID.SP3: 2, _HYBRID.SP3D: 3, _HYBRID.SP3D2: 4}
_BOND_TYPE = {_BOND.SINGLE: 0, _BOND.DOUBLE: 1, _BOND.TRIPLE: 2, _BOND.AROMATIC: 3}
_BOND_STEREO = {
    _STEREO.STEREOZ: 1,
    _STEREO.STEREOE: 2,
    _STEREO.STEREOCIS: 3,
    _STEREO.STEREOTRANS: 4,
    _STEREO.STEREOANY: 5,
}
_NO_CHARGE = 5
_MISC_HYBRID = 5
# A hydrogen on a heavy atom, as OGB describes it: one neighbour, no charge, misc hybridisation.
_HYDROGEN = (0, 1, _NO_CHARGE, 0, 0, _MISC_HYBRID, 0, 0, 0, 1, 0, 0, 0)


def atom_features(mol: Chem.Mol) -> UInt8[np.ndarray, "atom feat"]:
    """Describe each atom by small integers, one column each as in ATOM_FEATURES."""
    parity = _parities(mol)
    rings = _rings(mol)
    rows = [
        (
            _CHIRALITY.get(atom.GetChiralTag(), _OTHER_CHIRALITY),
            _index(atom.GetTotalDegree(), 0, 10),
            _index(atom.GetFormalCharge(), -5, 5),
            _index(atom.GetTotalNumHs(True), 0, 8),
            _index(atom.GetNumRadicalElectrons(), 0, 4),
            _HYBRIDISATION.get(atom.GetHybridization(), _MISC_HYBRID),
            atom.GetIsAromatic(),
            atom.IsInRing(),
            parity.get(i, 0),
            _index(atom.GetTotalValence(), 0, 14),
            *rings.get(i, _NO_RING),
        )
        for i, atom in enumerate(atoms(mol))
    ]
    return np.array(rows, dtype=np.uint8).reshape(-1, len(ATOM_FEATURES))


class _Rings(NamedTuple):
    """The rings (of RDKit's smallest set of smallest rings) that an atom lies in."""

    smallest: int  # size in atoms, 0 without a ring; 255 for anything larger
    largest: int
    n: int


_NO_RING = _Rings(0, 0, 0)


def _rings(mol: Chem.Mol) -> dict[int, _Rings]:
    """The rings of each atom that has one."""
    of_atom: dict[int, _Rings] = {}
    for ring in mol.GetRingInfo().AtomRings():
        size = min(len(ring), 255)
        for atom in ring:
            before = of_atom.get(atom)
            if before is None:
                of_atom[atom] = _Rings(size, size, 1)
            else:
                of_atom[atom] = _Rings(
                    smallest=min(before.smallest, size),
                    largest=max(before.largest, size),
                    n=min(before.n + 1, 15),
                )
    return of_atom


def _index(value: int, first: int, last: int) -> int:
    """Position in the list first..last; one past its end for anything else ("misc")."""
    return value - first if first <= value <= last else last - first + 1


def _parities(mol: Chem.Mol) -> dict[int, int]:
    """Handedness of tetrahedral centres, 1 or 2, by the canonical ranks of their neighbours.

    The chirality tag says whether the bonds, as listed, turn clockwise; the parity says so for the
    neighbours in canonical order, so it does not change with the numbering of the atoms. Ranks
    ignore chirality first, so that mirror images rank alike; centres told apart by chirality alone
    (in meso compounds) come second. Where two neighbours still tie there is no handedness to tell,
    and the centre has none (0). Cis and trans on a symmetric ring (1,4-dimethylcyclohexane) are not
    told apart: no local handedness differs; the coordinates tell them.
    """
    handed = (_TAG.CHI_TETRAHEDRAL_CW, _TAG.CHI_TETRAHEDRAL_CCW)
    centres = [atom for atom in atoms(mol) if atom.GetChiralTag() in handed]
    if not centres:
        return {}
    flat = list(Chem.CanonicalRankAtoms(mol, breakTies=False, includeChirality=False))
    full = list(Chem.CanonicalRankAtoms(mol, breakTies=False, includeChirality=True))
    parities = {}
    for atom in centres:
        ranks = [(flat[n.GetIdx()], full[n.GetIdx()]) for n in atom.GetNeighbors()]
        if len(set(ranks)) == len(ranks):
            # Whether the neighbours, as listed, are an odd permutation of their canonical order.
            odd = sum(a > b for i, a in enumerate(ranks) for b in ranks[i + 1 :]) % 2
            parities[atom.GetIdx()] = 1 + (odd ^ (atom.GetChiralTag() == handed[1]))
    return parities


def bond_features(mol: Chem.Mol) -> tuple[np.ndarray, np.ndarray]:
    """The atoms i < j of each bond, uint16 [bond, 2], and its features, uint8 [bond, 4]."""
    ends = []
    rows = []
    for k in range(mol.GetNumBonds()):
        bond = mol.GetBondWithIdx(k)
        ends.append(sorted((bond.GetBeginAtomIdx(), bond.GetEndAtomIdx())))
        kind = _BOND_TYPE.get(bond.GetBondType(), 4)
        # Unknown stereo is none: STEREOATROPCW and -CCW are newer than the list.
        stereo = _BOND_STEREO.get(bond.GetStereo(), 0)
        rows.append((kind, stereo, bond.GetIsConjugated(), bond.IsInRing()))
    return (
        np.array(ends, dtype=np.uint16).reshape(-1, 2),
        np.array(rows, dtype=np.uint8).reshape(-1, len(BOND_FEATURES)),
    )


def molecule_arrays(molecule: str | Chem.Mol) -> dict[str, np.ndarray | int]:
    """All integer arrays of a stored molecule: heavy atoms in SMILES order, then hydrogens.

    Hydrogens stand as AddHs appends them. ``parent`` is the heavy atom that an atom's labels are
    folded onto, itself for a heavy atom; bonds between heavy atoms come first, then the bonds to
    hydrogen, in the order of the hydrogens. A string must be the stored canonical SMILES; a
    molecule must be what MolFromSmiles makes of it.
    """
    mol = Chem.MolFromSmiles(molecule) if isinstance(molecule, str) else molecule
    heavy_feats = atom_features(mol)
    bonds, bond_feats = bond_features(mol)
    n_heavy = len(heavy_feats)
    n_hydrogens = [atom.GetTotalNumHs() for atom in atoms(mol)]
    owner = np.repeat(np.arange(n_heavy, dtype=np.uint16), n_hydrogens)  # heavy atom of a hydrogen
    n_hydrogen = len(owner)
    hydrogen_feats = np.tile(np.array(_HYDROGEN, np.uint8), (n_hydrogen, 1))
    hydrogen_bond_feats = np.zeros((n_hydrogen, len(BOND_FEATURES)), np.uint8)
    numbers = np.ones(n_heavy + n_hydrogen, dtype=np.uint8)
    numbers[:n_heavy] = [atom.GetAtomicNum() for atom in atoms(mol)]
    hydrogens = np.arange(n_heavy, n_heavy + n_hydrogen, dtype=np.uint16)
    return {
        "numbers": numbers,
        "atom_feats": np.concatenate([heavy_feats, hydrogen_feats]),
        "bonds": np.concatenate([bonds, np.stack([owner, hydrogens], axis=1)]),
        "bond_feats": np.concatenate([bond_feats, hydrogen_bond_feats]),
        "n_heavy": n_heavy,
        "n_heavy_bonds": len(bonds),
        "parent": np.concatenate([np.arange(n_heavy, dtype=np.uint16), owner]),
        "charge": Chem.GetFormalCharge(mol),
    }
