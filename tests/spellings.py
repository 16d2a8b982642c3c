"""Real molecules, and other spellings of them."""

from __future__ import annotations

from pathlib import Path

from rdkit import Chem, RDConfig

from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.parsing import parse_smiles
from molnb.chemistry.standardization import StandardizedMolecule, standardize

# one centre, several, a sulfoxide, a bridged ring, an axis of double bonds beside a centre, a sugar
CHIRAL = (
    "C[C@H](N)C(=O)O",
    "C[C@@H](O)[C@H](N)C(=O)O",
    "CC[S@](C)=O",
    "CC1(C)[C@@H]2CC[C@@]1(C)C(=O)C2",
    "C/C=C/[C@H](F)CC",
    "OC[C@H]1O[C@@H](O)[C@H](O)[C@@H](O)[C@@H]1O",
    "F[C@](Cl)(Br)I",
)


def nci_smiles(n: int) -> list[str]:
    """The SMILES of n rows of nci as they stand in its file, evenly spaced."""
    lines = (Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi").read_text().splitlines()
    return [line.split()[0] for line in lines[:: len(lines) // n]][:n]


def standardized(smiles: list[str]) -> list[StandardizedMolecule]:
    """Those of the molecules that can be standardised."""
    molecules = []
    for text in smiles:
        try:
            molecules.append(standardize(parse_smiles(text)))
        except MoleculeError:
            continue
    return molecules


def respelled(smiles: str, n: int, seed: int = 1) -> list[str]:
    """The same molecule in n spellings, chosen at random."""
    return Chem.MolToRandomSmilesVect(Chem.MolFromSmiles(smiles), n, randomSeed=seed)
