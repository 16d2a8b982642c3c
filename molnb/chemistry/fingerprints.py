"""Classical descriptions of a molecule: substructure counts, descriptors, and R-groups on a
common core.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rdkit import Chem, DataStructs, RDLogger
from rdkit.Chem import Descriptors, rdFingerprintGenerator
from rdkit.Chem.rdRGroupDecomposition import RGroupDecompose

from ..errors import InputError
from ..shapes import Float

N_BIT = 2048


def _mols(smiles: Sequence[str]) -> list[Chem.Mol]:
    mols = [Chem.MolFromSmiles(s) for s in smiles]
    bad = [s for s, m in zip(smiles, mols) if m is None]
    if bad:
        raise InputError(
            f"{len(bad)} SMILES do not parse, the first is {bad[0]!r}: curate the file first"
        )
    return mols


def ecfp_counts(
    smiles: Sequence[str], radius: int = 2, n_bit: int = N_BIT
) -> Float[np.ndarray, "mol bit"]:
    """How often each circular substructure occurs (ECFP4 for radius 2; Rogers and Hahn 2010),
    folded to `n_bit`.
    """
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=n_bit)
    return np.stack([generator.GetCountFingerprintAsNumPy(m) for m in _mols(smiles)]).astype(
        np.float32
    )


def descriptors(smiles: Sequence[str]) -> Float[np.ndarray, "mol descriptor"]:
    """RDKit's 2D descriptors, all of them; not finite or beyond 1e6 in size becomes NaN."""
    with _quiet():
        rows = [[float(f(m)) for _, f in Descriptors.descList] for m in _mols(smiles)]
    table = np.array(rows, np.float64)
    return np.where(np.isfinite(table) & (np.abs(table) < 1e6), table, np.nan).astype(np.float32)


class _quiet:
    def __enter__(self):
        RDLogger.DisableLog("rdApp.*")

    def __exit__(self, *_):
        RDLogger.EnableLog("rdApp.error")


def ecfp_bits(smiles: Sequence[str]) -> list[DataStructs.ExplicitBitVect]:
    """ECFP4 bit vectors of molecules: which circular substructures occur, folded to 2,048 bits."""
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=N_BIT)
    return [generator.GetFingerprint(m) for m in _mols(smiles)]


def similarities(smiles: Sequence[str], known: Sequence[str]) -> Float[np.ndarray, "mol known"]:
    """Tanimoto similarity of ECFP4 bit vectors between two lists of molecules."""
    known_bits = ecfp_bits(known)
    rows = [DataStructs.BulkTanimotoSimilarity(bits, known_bits) for bits in ecfp_bits(smiles)]
    return np.array(rows, np.float32)


def r_groups(smiles: Sequence[str], core: Chem.Mol) -> list[dict[str, str] | None]:
    """What stands at each position of a core (Free and Wilson 1964); None for a molecule without
    that core.
    """
    with _quiet():
        found, unmatched = RGroupDecompose([core], _mols(smiles), asSmiles=True, asRows=True)
    missing, rows = set(unmatched), iter(found)
    return [
        None if i in missing else {k: v for k, v in next(rows).items() if k != "Core"}
        for i in range(len(smiles))
    ]
