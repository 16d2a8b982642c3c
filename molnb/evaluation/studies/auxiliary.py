"""Auxiliary data of a study: what is learnt beside an assay, or in its place as a control."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...chemistry.fingerprints import descriptors_named
from ...curation.relabelled import NewTask, relabel
from ...errors import InputError
from ...rng import normal
from ...shapes import Float, Int
from ...shards import LOOSE_KEYS, Shards, label_numbers

# As many numbers as the quantum sets have of a molecule; all follow from its graph.
DESCRIPTORS = (
    "MolLogP",
    "TPSA",
    "MolMR",
    "BertzCT",
    "NumRotatableBonds",
    "FractionCSP3",
    "LabuteASA",
)
PLANTED = "planted"
_NOISE = 401  # a channel of random numbers


def molecule_values(
    shards: Shards, tasks: tuple[str, ...] = ()
) -> tuple[list[str], Float[np.ndarray, "mol label"]]:
    """Names and values of the labels of molecules (of all tasks, or of some); NaN where unknown."""
    names: list[str] = []
    columns = []
    for name in tasks or tuple(shards.tasks):
        task = shards.tasks[name]
        values = shards.array(f"{name}.values")
        if task["level"] != "molecule" or values.ndim != 2:
            continue
        table = np.full((shards.n, values.shape[1]), np.nan)
        table[np.asarray(shards.array(f"{name}.index"))] = label_numbers(values)
        names += [label["name"] for label in task["labels"]]
        columns.append(table)
    if not columns:
        raise InputError(
            f"{shards.path} has no numbers of molecules among its tasks "
            f"({', '.join(shards.tasks) or 'none'})"
        )
    return names, np.concatenate(columns, 1)


def with_descriptors(shards: Shards) -> Shards:
    """The same molecules with RDKit descriptors as labels: cheap, and of no quantum origin."""
    values = descriptors_named(shards.smiles(), DESCRIPTORS)
    task = NewTask(
        name="descriptors",
        labels=DESCRIPTORS,
        quantities=tuple(f"RDKit descriptor {name}" for name in DESCRIPTORS),
        units=("1",) * len(DESCRIPTORS),
        values=values,
        origin="RDKit",
    )
    return relabel(shards, f"{shards.name}_descriptors", [task])


def with_target(
    shards: Shards, task: str, label: str, keep: Int[np.ndarray, " mol"] | None = None
) -> Shards:
    """The same molecules with one label alone, which an assay stands for; of some molecules only.

    Whatever else is known of them is withheld.
    """
    values, declared = _target(shards, task, label)
    shown = np.full(shards.n, np.nan)
    rows = np.arange(shards.n) if keep is None else np.asarray(keep)
    shown[rows] = values[rows]
    new = NewTask(
        name="target",
        labels=(label,),
        quantities=(declared["quantity"],),
        units=(declared["unit"],),
        values=shown[:, None],
        origin=declared["theory"],
    )
    return relabel(shards, f"{shards.name}_target", [new])


def with_planted(
    shards: Shards,
    task: str,
    label: str,
    correlation: float,
    keep: Int[np.ndarray, " mol"],
    seed: int = 0,
) -> Shards:
    """Some of the molecules with a label that is the target and noise: a gain that must be found.

    Its correlation with the target is as given, over these molecules in expectation.
    """
    if not -1 <= correlation <= 1:
        raise InputError(f"correlation is {correlation}: give a number from -1 to 1")
    values, declared = _target(shards, task, label)
    target = values[keep]
    scaled = (target - np.nanmean(target)) / np.nanstd(target)
    noise = normal(seed, _NOISE, np.asarray(keep))
    planted = np.full(shards.n, np.nan)
    planted[keep] = correlation * scaled + (1 - correlation**2) ** 0.5 * noise
    new = NewTask(
        name=PLANTED,
        labels=(PLANTED,),
        quantities=(f"{declared['quantity']} and noise, correlation {correlation:g}",),
        units=("1",),
        values=planted[:, None],
        origin="made up",
    )
    return relabel(shards, f"{shards.name}_planted", [new])


def _target(shards: Shards, task: str, label: str) -> tuple[np.ndarray, dict]:
    """Values of a label, one a molecule, and what is declared of it."""
    names, values = molecule_values(shards, (task,))
    if label not in names:
        raise InputError(
            f"task {task!r} of {shards.path} has no label {label!r}: it has {', '.join(names)}"
        )
    column = names.index(label)
    return values[:, column], shards.tasks[task]["labels"][column]


def unrelated(
    shards: Shards, others: Shards, rows: Int[np.ndarray, " row"]
) -> Int[np.ndarray, " mol"]:
    """Molecules of a dataset that share no loose key with some rows of another.

    So no stereoisomer, salt or tautomer of a tested molecule is learnt from.
    """
    apart = np.ones(shards.n, bool)
    for key in LOOSE_KEYS:
        known = others.table([key])[key].take(pa.array(rows))
        shared = pc.is_in(shards.table([key])[key], value_set=pc.drop_null(known.combine_chunks()))
        apart &= ~shared.to_numpy(zero_copy_only=False)
    return np.flatnonzero(apart)
