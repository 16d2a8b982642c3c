"""What tells molecules apart: loose keys, Murcko scaffold, stereo left open."""

from __future__ import annotations

import hashlib

from rdkit import Chem
from rdkit.Chem import rdMolHash

from .failures import guarded
from .standardization import flat_smiles, uncharger


def _hashed(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@guarded("standardisation failed")
def identity_keys(mol: Chem.Mol) -> tuple[str, str]:
    """Two keys that stereoisomers, protomers and (most) tautomers of a molecule share.

    The first block of the InChIKey, and a hash of RDKit's HetAtomTautomerv2. Where InChI refuses a
    structure, the first is a hash of the SMILES without stereo, marked by a leading "-", so that
    such molecules do not meet.
    """
    flat = Chem.Mol(mol)
    Chem.RemoveStereochemistry(flat)
    uncharger().unchargeInPlace(flat)
    inchikey = Chem.MolToInchiKey(mol)
    connectivity = inchikey[:14] if inchikey else "-" + _hashed(flat_smiles(flat))[:13]
    return connectivity, _hashed(rdMolHash.MolHash(flat, rdMolHash.HashFunction.HetAtomTautomerv2))


@guarded("standardisation failed")
def murcko_scaffold(mol: Chem.Mol) -> str:
    """SMILES of the Murcko scaffold (rings, linkers, their exocyclic double bonds) without stereo.

    Empty for acyclic molecules. Source: Bemis & Murcko, J. Med. Chem. 39, 2887 (1996), as RDKit
    reads it.
    """
    smiles = flat_smiles(Chem.MurckoDecompose(mol))
    # Written twice, so that equal scaffolds of different molecules become equal strings.
    reread = Chem.MolFromSmiles(smiles)
    return smiles if reread is None else flat_smiles(reread)


@guarded("standardisation failed")
def undefined_stereo(mol: Chem.Mol) -> int:
    """Number of potential stereo centres and double bonds that the structure leaves open.

    Imines C=N-H do not count: their isomers interconvert, and a SMILES with implicit hydrogens
    cannot tell them.
    """
    return sum(
        info.specified == Chem.StereoSpecified.Unspecified and not _is_imine(mol, info)
        for info in Chem.FindPotentialStereo(mol)
    )


def _is_imine(mol: Chem.Mol, info: Chem.StereoInfo) -> bool:
    if info.type != Chem.StereoType.Bond_Double:
        return False
    bond = mol.GetBondWithIdx(info.centeredOn)
    ends = bond.GetBeginAtom(), bond.GetEndAtom()
    return any(atom.GetAtomicNum() == 7 and atom.GetTotalNumHs() > 0 for atom in ends)
