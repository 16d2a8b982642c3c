"""What standardisation does to the molecules of files: changed in silence, dropped, and why.

Heavy atoms, and hydrogens minus charge, are counted by RDKit alone, before and after: the parent
and everything that was removed must hold what was drawn. Where a metal was cut from what bound it,
only heavy atoms count.

    python benchmarks/conservation.py nci wehi mine.csv --sample 10000
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rdkit import Chem, rdBase

from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.metals import METALS
from molnb.chemistry.parsing import parse_smiles
from molnb.chemistry.standardization import StandardizedMolecule, standardize
from molnb.errors import InputError
from molnb.paths import home
from molnb.recipes.readers import read_records
from molnb.recipes.readers.record import record_structure
from molnb.recipes.registry import list_recipes, load_recipe
from molnb.recipes.sources import find_source, recipe_for_file, source_path
from molnb.rng import hash_sample

N_EXAMPLE = 2  # of each reason


def read_smiles(source: str) -> list[str]:
    """The SMILES of a recipe, or of the likeliest column of a file; malformed rows are left out."""
    recipe = load_recipe(source) if source in list_recipes() else recipe_for_file(source)
    located = find_source(recipe, home())
    file = source_path(located.source, located.folder)
    structures = []
    for record in read_records(located.source, file, [recipe.columns.smiles]):
        structure, problem = record_structure(record, recipe.columns.smiles)
        if structure and problem is None:
            structures.append(structure)
    return structures


def heavy_atoms(mol: Chem.Mol) -> Counter[str]:
    """How often each element but hydrogen occurs."""
    return Counter(atom.GetSymbol() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1)


def protons(mol: Chem.Mol) -> int:
    """Hydrogens minus charge: what neither a salt nor a proton that moves can change."""
    drawn = sum(atom.GetAtomicNum() == 1 for atom in mol.GetAtoms())
    implicit = sum(atom.GetTotalNumHs() for atom in mol.GetAtoms() if atom.GetAtomicNum() > 1)
    return drawn + implicit - Chem.GetFormalCharge(mol)


def is_conserved(smiles: str, molecule: StandardizedMolecule) -> bool:
    """Whether parent and removed fragments together hold what was drawn."""
    drawn = Chem.MolFromSmiles(smiles)
    whole = Chem.MolFromSmiles(".".join([molecule.smiles, *molecule.removed]))
    if heavy_atoms(drawn) != heavy_atoms(whole):
        return False
    has_metal = any(atom.GetAtomicNum() in METALS for atom in drawn.GetAtoms())
    return has_metal or protons(drawn) == protons(whole)


def outcomes(structures: list[str]) -> Iterator[tuple[str, str]]:
    """What became of each SMILES: kept, changed in silence, or the reason to drop it."""
    for smiles in structures:
        try:
            molecule = standardize(parse_smiles(smiles))
        except MoleculeError as failure:
            yield smiles, failure.reason
            continue
        yield smiles, "kept" if is_conserved(smiles, molecule) else "CHANGED IN SILENCE"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("sources", nargs="+", help="recipes, or files with SMILES")
    parser.add_argument("--sample", type=int, help="at most so many rows of each, a hash sample")
    args = parser.parse_args()
    start = time.process_time()
    counts: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for source in args.sources:
        structures = read_smiles(source)
        rows = hash_sample(np.arange(len(structures)), args.sample)
        for smiles, outcome in outcomes([structures[row] for row in rows]):
            counts[outcome] += 1
            if outcome != "kept" and len(examples.setdefault(outcome, [])) < N_EXAMPLE:
                examples[outcome].append(f"{Path(source).name}: {smiles[:70]}")
    print(f"{counts.total():,} rows, {time.process_time() - start:.0f} CPU-s")
    for outcome, count in counts.most_common():
        print(f"{count:>9,}  {outcome}")
        for example in examples.get(outcome, []):
            print(f"{'':>11}{example}")
    return int(counts["CHANGED IN SILENCE"] > 0)


if __name__ == "__main__":
    with rdBase.BlockLogs():
        try:
            sys.exit(main())
        except InputError as error:
            print(error, file=sys.stderr)
            sys.exit(2)
