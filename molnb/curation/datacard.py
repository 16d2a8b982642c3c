"""Data cards: what the molecules of a corpus are, in the numbers a chemist asks for first."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from rdkit import Chem
from rdkit.Chem import Crippen, Descriptors

from ..chemistry.fingerprints import nearest_similarities
from ..shards import (
    EVERY_SPLIT,
    SPLIT_VALUES,
    Shards,
    parts_present,
    split_title,
)

NO_STEREO = "no stereo element"
DEFINED_STEREO = "all defined"
OPEN_STEREO = "some open"
MOST_LABELS = 6  # of a source that a card describes one by one
LOST_COLUMNS = ["corpus", "what", "step", "reason", "n", "of"]


def describe_molecules(shards: Shards) -> pd.DataFrame:
    """Heavy atoms, molecular weight and logP, a row a molecule; columns are named with the unit.

    logP is Crippen's sum of atom contributions (J. Chem. Inf. Comput. Sci. 1999, 39, 868), a guess
    and no measurement.
    """
    mols = [Chem.MolFromSmiles(smiles) for smiles in shards.smiles()]
    return pd.DataFrame(
        {
            "heavy atoms": [mol.GetNumHeavyAtoms() for mol in mols],
            "molecular weight (g/mol)": [Descriptors.MolWt(mol) for mol in mols],
            "logP (Crippen)": [Crippen.MolLogP(mol) for mol in mols],
        }
    )


# -------------------------------------------------------------------------------------- shares


def element_shares(shards: Shards) -> dict[str, float]:
    """Share of the molecules that hold an element (0 to 1), by symbol; hydrogen is left out.

    The most frequent element stands first.
    """
    n_atom = np.diff(np.asarray(shards.array("atom_offset")))
    numbers = np.asarray(shards.array("numbers"))
    molecule = np.repeat(np.arange(shards.n), n_atom)
    heavy = numbers > 1
    # One row for each element of each molecule, however often it occurs there.
    pairs = np.unique(np.stack([molecule[heavy], numbers[heavy]], 1), axis=0)
    symbol = Chem.GetPeriodicTable().GetElementSymbol
    counts = Counter(pairs[:, 1].tolist())
    return {symbol(number): count / shards.n for number, count in counts.most_common()}


def stereo_shares(shards: Shards) -> dict[str, float]:
    """Share of the molecules (0 to 1) without stereo elements, with all defined, with some open."""
    n_open = np.asarray(shards.table(["undefined_stereo"])["undefined_stereo"])
    drawn = np.array([any(mark in smiles for mark in "@/\\") for smiles in shards.smiles()])
    is_open = n_open > 0
    return {
        NO_STEREO: float(np.mean(~is_open & ~drawn)),
        DEFINED_STEREO: float(np.mean(~is_open & drawn)),
        OPEN_STEREO: float(np.mean(is_open)),
    }


def charge_shares(shards: Shards) -> dict[str, float]:
    """Share of the molecules with each net charge (e) after standardisation, 0 to 1."""
    charges = np.clip(np.asarray(shards.array("charge"), int), -2, 2)
    names = {-2: "-2 or less", -1: "-1", 0: "0", 1: "+1", 2: "+2 or more"}
    return {name: float(np.mean(charges == charge)) for charge, name in names.items()}


# --------------------------------------------------------------------------------------- cards


def data_card(shards: Shards) -> pd.Series:
    """A corpus in a few words and numbers, named after it: how many, how large, how varied.

    Medians, with 5th to 95th percentile. Acyclic molecules have no scaffold and are counted on
    their own. Corpora side by side: ``pd.concat([data_card(x) for x in ...], axis=1)``.
    """
    manifest = shards.manifest
    copies = manifest["counts"]["duplicates"]
    described = describe_molecules(shards)
    scaffolds = np.array(shards.table(["scaffold"])["scaffold"].to_pylist())
    is_charged = np.asarray(shards.array("charge")) != 0
    n_row = f"{manifest['n_sampled']:,} of {manifest['n_source']:,}"
    card = {
        "molecules": f"{shards.n:,}, from {n_row} rows",
        **{name: _spread(described[name].to_numpy()) for name in described},
        "charged": _percent(np.mean(is_charged)),
        "stereo left open": _percent(stereo_shares(shards)[OPEN_STEREO]),
        "scaffolds": len(set(scaffolds) - {""}),
        "acyclic": _percent(np.mean(scaffolds == "")),
        "labels of the source": _describe_labels(manifest),
        "molecules whose copies disagree": copies["conflicting"],
        "molecules with a value that only a later copy knows": copies["known_only_in_a_copy"],
    }
    examples = _describe_transforms(manifest)
    if examples:
        card["transformed labels"] = examples
    return pd.Series(card, name=shards.name, dtype=object)


def _describe_labels(manifest: dict[str, Any]) -> str:
    """Labels read from the source: how many molecules have each, of which class or in which unit.

    Where there are many, the first `MOST_LABELS`.
    """
    columns = manifest["molecules"].get("columns", {})
    described = []
    for name in list(columns)[:MOST_LABELS]:
        label = manifest["labels"][name]
        classes = label.get("class_counts", {})
        counts = ", ".join(f"{text}: {n:,}" for text, n in classes.items())
        described.append(f"{name} {label['known']:,} ({counts or label['unit']})")
    n_more = len(columns) - len(described)
    more = [f"and {n_more} more"] if n_more else []
    return "; ".join([*described, *more]) or "none"


def _describe_transforms(manifest: dict[str, Any]) -> str:
    """One value of each transformed label, before and after."""
    units = {label["name"]: label for label in manifest["recipe"]["labels"]}
    described = []
    for name, column in manifest["molecules"].get("columns", {}).items():
        if "example" in column:
            before, after = column["example"]
            units_of = units[name]
            described.append(
                f"{name}: {before:g} {units_of['source_unit']} is stored as {after:g} "
                f"{units_of['unit']}"
            )
    return "; ".join(described)


def _spread(values: np.ndarray) -> str:
    low, median, high = np.percentile(values, (5, 50, 95))
    is_integer = np.array_equal(values, np.round(values))
    digits = 1 if high < 20 and not is_integer else 0
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


# -------------------------------------------------------------------------------------- splits


def split_similarities(shards: Shards, split: str) -> np.ndarray:
    """Tanimoto similarity (ECFP4) of each test molecule, in order, to the nearest in training."""
    smiles = np.array(shards.smiles())
    side = np.asarray(shards.array(f"split_{split}"))
    train = smiles[side == SPLIT_VALUES.index("train")].tolist()
    test = smiles[side == SPLIT_VALUES.index("test")].tolist()
    return nearest_similarities(test, train)


def split_table(shards: Shards) -> pd.DataFrame:
    """Sizes of every split of a corpus, and how near its test is to its training molecules.

    The similarity is the median, and missing where a side is empty. A column test_seen is there
    where a split has that part.
    """
    splits = shards.manifest["splits"]
    present = {part for split in splits.values() for part in parts_present(split)}
    parts = [part for part in SPLIT_VALUES if part in present or part in EVERY_SPLIT]
    rows = [
        {
            "corpus": shards.name,
            "split": split_title(name, split),
            **{part: split.get(part, 0) for part in parts},
            "test to nearest training molecule (median Tanimoto)": split["nn_similarity_median"],
        }
        for name, split in splits.items()
    ]
    return pd.DataFrame(rows)


# -------------------------------------------------------------------------------------- losses


def lost_rows(shards: Shards) -> pd.DataFrame:
    """Everything that was lost: dropped rows by step and reason, missing labels by reason.

    ``what`` is "row", or the labels; ``n`` of ``of`` are lost.
    """
    manifest = shards.manifest
    rows: list[tuple[Any, ...]] = [
        (shards.name, "row", step, reason, n, manifest["n_sampled"])
        for step, reasons in manifest["dropped"].items()
        for reason, n in reasons.items()
    ]
    for (names, reason), n in _missing_labels(manifest["labels"]).items():
        rows.append((shards.name, names, "label", reason, n, shards.n))
    return pd.DataFrame(rows, columns=LOST_COLUMNS)


def _missing_labels(labels: dict[str, dict]) -> dict[tuple[str, str], int]:
    """Missing labels by (names, reason).

    Labels that are missing for the same reasons in the same numbers share a row.
    """
    alike: dict[tuple, list[str]] = {}
    for name, label in labels.items():
        alike.setdefault(tuple(label["missing"].items()), []).append(name)
    missing = {}
    for reasons, names in alike.items():
        title = names[0] if len(names) == 1 else f"{len(names)} labels: {names[0]} ..."
        missing |= {(title, reason): n for reason, n in reasons}
    return missing
