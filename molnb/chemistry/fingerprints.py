"""Classical descriptions of molecules: substructure counts, descriptors, R-groups on a core."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from rdkit import Chem, DataStructs, rdBase
from rdkit.Chem import Descriptors, rdFingerprintGenerator
from rdkit.Chem.rdRGroupDecomposition import RGroupDecompose

from ..errors import InputError
from ..shapes import Float, UInt8

N_BIT = 2048
N_CACHED = 41_000  # fingerprints; the splits of a corpus ask for nearly the same molecules


def _mols(smiles: Sequence[str]) -> list[Chem.Mol]:
    mols = [Chem.MolFromSmiles(text) for text in smiles]
    unreadable = [text for text, mol in zip(smiles, mols) if mol is None]
    if unreadable:
        raise InputError(
            f"{len(unreadable)} SMILES do not parse, the first is {unreadable[0]!r}: "
            "curate the file first"
        )
    return mols


def ecfp_counts(
    smiles: Sequence[str], radius: int = 2, n_bit: int = N_BIT
) -> Float[np.ndarray, "mol bit"]:
    """How often each circular substructure occurs, folded to `n_bit` (ECFP4 for radius 2).

    Source: Rogers & Hahn, J. Chem. Inf. Model. 50, 742 (2010).
    """
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=n_bit)
    counts = [generator.GetCountFingerprintAsNumPy(mol) for mol in _mols(smiles)]
    return np.stack(counts).astype(np.float32)


def descriptors(smiles: Sequence[str]) -> Float[np.ndarray, "mol descriptor"]:
    """RDKit's 2D descriptors, all of them; not finite or beyond 1e6 in size becomes NaN."""
    return descriptors_named(smiles, [name for name, _ in Descriptors.descList])


def descriptors_named(
    smiles: Sequence[str], names: Sequence[str]
) -> Float[np.ndarray, "mol descriptor"]:
    """RDKit's 2D descriptors of these names; not finite or beyond 1e6 in size becomes NaN."""
    known = dict(Descriptors.descList)
    functions = [known[name] for name in names]
    with rdBase.BlockLogs():
        rows = [[float(describe(mol)) for describe in functions] for mol in _mols(smiles)]
    table = np.array(rows, np.float64)
    usable = np.isfinite(table) & (np.abs(table) < 1e6)
    return np.where(usable, table, np.nan).astype(np.float32)


def ecfp_bits(smiles: Sequence[str]) -> list[DataStructs.ExplicitBitVect]:
    """Which circular substructures occur: an ECFP4 bit vector of 2,048 bits for each molecule."""
    return [_ecfp4(mol) for mol in _mols(smiles)]


def packed_ecfp(smiles: Sequence[str]) -> UInt8[np.ndarray, "mol byte"]:
    """The bits of `ecfp_bits` eight a byte, 256 bytes a molecule: for many molecules."""
    packed = np.empty((len(smiles), N_BIT // 8), np.uint8)
    for row, text in enumerate(smiles):
        bits = _ecfp4(Chem.MolFromSmiles(text))
        packed[row] = np.frombuffer(DataStructs.BitVectToBinaryText(bits), np.uint8)
    return packed


def similarities(
    smiles: Sequence[str], references: Sequence[str]
) -> Float[np.ndarray, "mol reference"]:
    """Tanimoto similarity (ECFP4) of each molecule to each reference: for short lists."""
    reference_bits = ecfp_bits(references)
    rows = [DataStructs.BulkTanimotoSimilarity(bits, reference_bits) for bits in ecfp_bits(smiles)]
    return np.array(rows, np.float32)


def nearest_similarities(
    smiles: Sequence[str], references: Sequence[str]
) -> Float[np.ndarray, " mol"]:
    """Tanimoto similarity (ECFP4) of each molecule to its nearest one of the references."""
    reference_bits = [_cached_ecfp4(text) for text in references]
    nearest = [
        max(DataStructs.BulkTanimotoSimilarity(_cached_ecfp4(text), reference_bits))
        for text in smiles
    ]
    return np.array(nearest)


@functools.cache
def _ecfp4_generator() -> rdFingerprintGenerator.FingerprintGenerator64:
    return rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=N_BIT)


def _ecfp4(mol: Chem.Mol) -> DataStructs.ExplicitBitVect:
    return _ecfp4_generator().GetFingerprint(mol)


@functools.lru_cache(N_CACHED)
def _cached_ecfp4(smiles: str) -> DataStructs.ExplicitBitVect:
    return _ecfp4(Chem.MolFromSmiles(smiles))


def r_groups(smiles: Sequence[str], core: Chem.Mol) -> list[dict[str, str] | None]:
    """What stands at each position of a core (Free and Wilson 1964); None where the core is not."""
    with rdBase.BlockLogs():
        rows, unmatched = RGroupDecompose([core], _mols(smiles), asSmiles=True, asRows=True)
    groups: list[dict[str, str] | None] = [None] * len(smiles)
    matched = sorted(set(range(len(smiles))) - set(unmatched))
    for position, row in zip(matched, rows, strict=True):
        groups[position] = {name: group for name, group in row.items() if name != "Core"}
    return groups
