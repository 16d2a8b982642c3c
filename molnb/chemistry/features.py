"""RDKit molecule -> integer arrays: what a model sees of atoms and bonds before any geometry.

Columns 0 to 7 of the atoms and all columns of the bonds are indices into the value lists of the
Open Graph Benchmark (Hu et al., NeurIPS 2020), which the Uni-Mol2 weights expect; its first column,
the atomic number, is ``numbers`` here. Column 8 is ours: OGB's chirality tag depends on the order
in which neighbours are written, the parity does not. What follows, of atoms from column 9 and of
bonds from column 3, is what graph networks read beside: valence and rings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rdkit import Chem

from ..shapes import Int, UInt8
from .parsing import atoms, bonds

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
_HANDED = (1, 2)
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
_OTHER_BOND = 4
# Positions in OGB's lists; one past the end of a list is anything else ("misc").
_DEGREE = {n: n for n in range(11)}
_CHARGE = {n: n + 5 for n in range(-5, 6)}
_HYDROGENS = {n: n for n in range(9)}
_RADICALS = {n: n for n in range(5)}
_VALENCE = {n: n for n in range(15)}
_NO_CHARGE = 5
_MISC_HYBRID = 5
# A hydrogen on a heavy atom, as OGB describes it: one neighbour, no charge, misc hybridisation.
_HYDROGEN = (0, 1, _NO_CHARGE, 0, 0, _MISC_HYBRID, 0, 0, 0, 1, 0, 0, 0)


def atom_features(
    mol: Chem.Mol, own: Sequence[Chem.Atom] | None = None
) -> UInt8[np.ndarray, "atom feat"]:
    """Describe each atom by small integers, one column each as in ATOM_FEATURES.

    `own` are the atoms of the molecule in order, for who has them already.
    """
    own = atoms(mol) if own is None else own
    tags = [_CHIRALITY.get(atom.GetChiralTag(), _OTHER_CHIRALITY) for atom in own]
    rings = _rings(mol)  # before parities: ranking a renumbered molecule forgets its rings
    parity = _parities(mol, [i for i, tag in enumerate(tags) if tag in _HANDED])
    values: list[int] = []
    for i, atom in enumerate(own):
        values += (
            tags[i],
            _DEGREE.get(atom.GetTotalDegree(), 11),
            _CHARGE.get(atom.GetFormalCharge(), 11),
            _HYDROGENS.get(atom.GetTotalNumHs(True), 9),
            _RADICALS.get(atom.GetNumRadicalElectrons(), 5),
            _HYBRIDISATION.get(atom.GetHybridization(), _MISC_HYBRID),
            atom.GetIsAromatic(),
            atom.IsInRing(),
            parity.get(i, 0),
            _VALENCE.get(atom.GetTotalValence(), 15),
            *rings.get(i, _NO_RING),
        )
    return _table(values, len(ATOM_FEATURES))


def _table(values: list[int], n_column: int) -> UInt8[np.ndarray, "row feat"]:
    """Numbers below 256, row after row, as an array: by way of bytes five times as fast."""
    return np.frombuffer(bytearray(values), np.uint8).reshape(-1, n_column)


_NO_RING = (0, 0, 0)


def _rings(mol: Chem.Mol) -> dict[int, tuple[int, int, int]]:
    """Of each atom in a ring (of RDKit's smallest set): smallest size, largest size, how many.

    Sizes are in atoms, 255 for anything larger; numbers end at 15.
    """
    of_atom: dict[int, tuple[int, int, int]] = {}
    for ring in mol.GetRingInfo().AtomRings():
        size = min(len(ring), 255)
        for atom in ring:
            if atom in of_atom:
                smallest, largest, n = of_atom[atom]
                of_atom[atom] = (min(smallest, size), max(largest, size), min(n + 1, 15))
            else:
                of_atom[atom] = (size, size, 1)
    return of_atom


def _parities(mol: Chem.Mol, centres: Sequence[int]) -> dict[int, int]:
    """Handedness of tetrahedral centres, 1 or 2, by the canonical ranks of their neighbours.

    The chirality tag says whether the bonds, as listed, turn clockwise; the parity says so for the
    neighbours in canonical order, so it does not change with the numbering of the atoms. Ranks
    ignore chirality first, so that mirror images rank alike; centres told apart by chirality alone
    (in meso compounds) come second. Where two neighbours still tie there is no handedness to tell,
    and the centre has none (0). Cis and trans on a symmetric ring (1,4-dimethylcyclohexane) are not
    told apart: no local handedness differs; the coordinates tell them.
    """
    if not centres:
        return {}
    flat = list(Chem.CanonicalRankAtoms(mol, breakTies=False, includeChirality=False))
    full: list[int] | None = None
    parities = {}
    for centre in centres:
        atom = mol.GetAtomWithIdx(centre)
        neighbours = [neighbour.GetIdx() for neighbour in atom.GetNeighbors()]
        ranks = [(flat[i], 0) for i in neighbours]
        if len(set(ranks)) < len(ranks):
            if full is None:
                full = list(Chem.CanonicalRankAtoms(mol, breakTies=False, includeChirality=True))
            ranks = [(flat[i], full[i]) for i in neighbours]
        if len(set(ranks)) == len(ranks):
            # Whether the neighbours, as listed, are an odd permutation of their canonical order.
            odd = sum(a > b for i, a in enumerate(ranks) for b in ranks[i + 1 :]) % 2
            parities[centre] = 1 + (odd ^ (atom.GetChiralTag() == _TAG.CHI_TETRAHEDRAL_CCW))
    return parities


def bond_features(mol: Chem.Mol) -> tuple[np.ndarray, np.ndarray]:
    """The atoms i < j of each bond, uint16 [bond, 2], and its features, uint8 [bond, 4]."""
    own = bonds(mol)
    ends = np.sort(bond_ends(own), axis=1)
    return ends.astype(np.uint16), bond_rows(own)


def bond_ends(own: Sequence[Chem.Bond]) -> Int[np.ndarray, "bond 2"]:
    """The atoms at which each bond begins and ends."""
    begins = [bond.GetBeginAtomIdx() for bond in own]
    ends = [bond.GetEndAtomIdx() for bond in own]
    return np.array([begins, ends], np.int64).T


def bond_rows(own: Sequence[Chem.Bond]) -> UInt8[np.ndarray, "bond bond_feat"]:
    """Describe each bond by small integers, one column each as in BOND_FEATURES."""
    values: list[int] = []
    for bond in own:
        kind = _BOND_TYPE.get(bond.GetBondType(), _OTHER_BOND)
        # Unknown stereo is none: STEREOATROPCW and -CCW are newer than the list.
        stereo = _BOND_STEREO.get(bond.GetStereo(), 0)
        values += (kind, stereo, bond.GetIsConjugated(), bond.IsInRing())
    return _table(values, len(BOND_FEATURES))


def molecule_arrays(molecule: str | Chem.Mol) -> dict[str, np.ndarray | int]:
    """All integer arrays of a stored molecule: heavy atoms in SMILES order, then hydrogens.

    Hydrogens stand as AddHs appends them. ``parent`` is the heavy atom that an atom's labels are
    folded onto, itself for a heavy atom; bonds between heavy atoms come first, then the bonds to
    hydrogen, in the order of the hydrogens. A string must be the stored canonical SMILES; a
    molecule must be what MolFromSmiles makes of it.
    """
    mol = Chem.MolFromSmiles(molecule) if isinstance(molecule, str) else molecule
    heavy = atoms(mol)
    heavy_feats = atom_features(mol, heavy)
    heavy_bonds, bond_feats = bond_features(mol)
    n_heavy = len(heavy_feats)
    n_hydrogens = [atom.GetTotalNumHs() for atom in heavy]
    owner = np.repeat(np.arange(n_heavy, dtype=np.uint16), n_hydrogens)  # heavy atom of a hydrogen
    n_hydrogen = len(owner)
    hydrogen_feats = np.tile(np.array(_HYDROGEN, np.uint8), (n_hydrogen, 1))
    hydrogen_bond_feats = np.zeros((n_hydrogen, len(BOND_FEATURES)), np.uint8)
    numbers = np.ones(n_heavy + n_hydrogen, dtype=np.uint8)
    numbers[:n_heavy] = [atom.GetAtomicNum() for atom in heavy]
    hydrogens = np.arange(n_heavy, n_heavy + n_hydrogen, dtype=np.uint16)
    return {
        "numbers": numbers,
        "atom_feats": np.concatenate([heavy_feats, hydrogen_feats]),
        "bonds": np.concatenate([heavy_bonds, np.stack([owner, hydrogens], axis=1)]),
        "bond_feats": np.concatenate([bond_feats, hydrogen_bond_feats]),
        "n_heavy": n_heavy,
        "n_heavy_bonds": len(heavy_bonds),
        "parent": np.concatenate([np.arange(n_heavy, dtype=np.uint16), owner]),
        "charge": Chem.GetFormalCharge(mol),
    }
