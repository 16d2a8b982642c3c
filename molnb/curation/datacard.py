"""Data cards: what the molecules of a corpus are, in the numbers a chemist asks for first."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from rdkit import Chem
from rdkit.Chem import Crippen, Descriptors

from ..shards import SPLIT_VALUES, Shards
from .splits import nearest_similarities

STEREO = ("no stereo element", "all defined", "some open")


def describe_molecules(shards: Shards) -> dict[str, np.ndarray]:
    """Heavy atoms, molecular weight and logP of every molecule, under names that carry the unit.

    logP is Crippen's sum of atom contributions (J. Chem. Inf. Comput. Sci. 1999, 39, 868), a guess
    and no measurement.
    """
    mols = [Chem.MolFromSmiles(smiles) for smiles in shards.smiles()]
    return {
        "heavy atoms": np.array([mol.GetNumHeavyAtoms() for mol in mols]),
        "molecular weight (g/mol)": np.array([Descriptors.MolWt(mol) for mol in mols]),
        "logP (Crippen)": np.array([Crippen.MolLogP(mol) for mol in mols]),
    }


def element_shares(shards: Shards) -> dict[str, float]:
    """Share of the molecules that hold an element (0 to 1), by symbol, most frequent first;
    hydrogen is left out.
    """
    offset, numbers = np.asarray(shards.array("atom_offset")), np.asarray(shards.array("numbers"))
    owner = np.repeat(np.arange(shards.n), np.diff(offset))
    found = np.unique(np.stack([owner, numbers], 1)[numbers > 1], axis=0)[:, 1]
    symbol = Chem.GetPeriodicTable().GetElementSymbol
    return {
        symbol(int(number)): count / shards.n
        for number, count in Counter(found.tolist()).most_common()
    }


def stereo_shares(shards: Shards) -> dict[str, float]:
    """Share of the molecules without stereo elements, with all of them defined, and with some
    left open (0 to 1).
    """
    open_ones = shards.table(["undefined_stereo"]).column(0).to_pylist()
    found: Counter[str] = Counter()
    for smiles, n_open in zip(shards.smiles(), open_ones):
        defined = any(mark in smiles for mark in "@/\\")
        found[STEREO[2] if n_open else STEREO[1] if defined else STEREO[0]] += 1
    return {name: found[name] / shards.n for name in STEREO}


def charge_shares(shards: Shards) -> dict[str, float]:
    """Share of the molecules with each net charge (e) after standardisation, 0 to 1."""
    charges = np.clip(np.asarray(shards.array("charge"), int), -2, 2)
    names = {-2: "-2 or less", -1: "-1", 0: "0", 1: "+1", 2: "+2 or more"}
    return {name: float(np.mean(charges == charge)) for charge, name in names.items()}


def data_card(shards: Shards) -> dict[str, Any]:
    """One row about a corpus: how many molecules, how large, how varied, how complete. Medians, 5th
    to 95th percentile.

    Acyclic molecules have no scaffold and are counted on their own.
    """
    manifest, described = shards.manifest, describe_molecules(shards)
    scaffolds = shards.table(["scaffold"]).column(0).to_pylist()
    stereo = stereo_shares(shards)
    return {
        "corpus": manifest["name"],
        "molecules": f"{shards.n:,}, from {manifest['n_sampled']:,} of {manifest['n_source']:,} rows",
        **{name: _spread(values) for name, values in described.items()},
        "charged": _percent(np.mean(np.asarray(shards.array("charge")) != 0)),
        "stereo left open": _percent(stereo["some open"]),
        "scaffolds": len(set(scaffolds) - {"", None}),
        "acyclic": _percent(np.mean([not scaffold for scaffold in scaffolds])),
    }


def _spread(values: np.ndarray) -> str:
    low, middle, high = np.percentile(values, (5, 50, 95))
    places = 1 if high < 20 and not np.array_equal(values, np.round(values)) else 0
    return f"{middle:.{places}f} ({low:.{places}f} to {high:.{places}f})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def split_similarities(shards: Shards, split: str) -> np.ndarray:
    """Tanimoto similarity (ECFP4) of each test molecule to its nearest training molecule, in
    sample order.
    """
    smiles, part = np.array(shards.smiles()), np.asarray(shards.array(f"split_{split}"))
    train, test = (smiles[part == SPLIT_VALUES.index(name)].tolist() for name in ("train", "test"))
    return nearest_similarities(test, train)


def split_table(shards: Shards) -> list[dict[str, Any]]:
    """Sizes of every split of a corpus, and the median similarity of its test to its nearest
    training molecules.
    """
    return [
        {"corpus": shards.name, "split": name}
        | {part: split[part] for part in SPLIT_VALUES}
        | {"test to nearest training molecule (median Tanimoto)": split["nn_similarity_median"]}
        for name, split in shards.manifest["splits"].items()
    ]


def lost_rows(shards: Shards) -> list[dict[str, Any]]:
    """Everything that was lost, a row each: a dropped row by step and reason, a missing label by
    its reason.
    """
    manifest = shards.manifest
    rows = [
        {
            "corpus": shards.name,
            "what": "row",
            "step": step,
            "reason": reason,
            "n": n,
            "of": manifest["n_sampled"],
        }
        for step, found in manifest["dropped"].items()
        for reason, n in found.items()
    ]
    for (names, reason), n in _missing(manifest["labels"]).items():
        rows.append(
            {
                "corpus": shards.name,
                "what": names,
                "step": "label",
                "reason": reason,
                "n": n,
                "of": shards.n,
            }
        )
    return rows


def _missing(labels: dict[str, dict]) -> dict[tuple[str, str], int]:
    """Missing labels by reason; labels that are missing for the same reasons in the same numbers
    share a row.
    """
    groups: dict[tuple, list[str]] = {}
    for name, label in labels.items():
        groups.setdefault(tuple(label["missing"].items()), []).append(name)
    return {
        (names[0] if len(names) == 1 else f"{len(names)} labels: {names[0]} ...", reason): n
        for found, names in groups.items()
        for reason, n in found
    }
