"""What the manifest of a mix says: as that of any shards, and of its members beside."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...chemistry.fingerprints import nearest_similarities
from ...recipes.mix_schema import Mix
from ...shards import CONFLICTS, FORMAT, SPLIT_VALUES
from ..counts import count_molecules
from ..parts import read_parts
from ..residuals import ABSENT_ELEMENT
from ..splitting.splits import N_TEST, N_TRAIN, TEST, TRAIN
from .mix_columns import DATASET, SPLIT, MixColumn, MixTask
from .mix_files import MixFiles
from .mix_parts import JOINED, MISSING
from .mix_plan import MemberRows, Plan

ELSEWHERE = "in no dataset that has it"
UNKNOWN = "not in the source"
DISAGREEING = "rows disagree"
SEED = 0  # of the molecules whose similarity is measured


def describe_mix(
    mix: Mix, files: MixFiles, tasks: list[MixTask], parts: list[Path]
) -> dict[str, Any]:
    """The manifest of a mix without its id, times, versions and the sizes of its files."""
    members = files.members
    manifests = {member.name: member.shards.manifest for member in members}
    labels = describe_labels(files, parts)
    dropped = _lost_reasons(files)
    n_kept = len(files.plan.samples)
    n_dropped = sum(sum(reasons.values()) for reasons in dropped.values())
    return {
        "format": FORMAT,
        "name": mix.name,
        "title": mix.title,
        "adopted_from": None,
        "recipe": _recipe(mix, members, files.columns),
        "source": _source(manifests),
        "n_source": sum(manifest["n_source"] for manifest in manifests.values()),
        "n_sampled": n_kept + n_dropped,
        "n_kept": n_kept,
        "n_dropped": n_dropped,
        "dropped": dropped,
        "counts": _counts(files, parts, manifests),
        "labels": labels,
        "tasks": {
            task.name: task.declared | {"labels": [labels[name] for name in task.labels]}
            for task in tasks
        },
        "splits": {SPLIT: _describe_split(files.plan)},
        "default_split": SPLIT,
        "fits": _fits(members, files.columns),
        "notices": [
            f"{name}: {notice}"
            for name, manifest in manifests.items()
            for notice in manifest.get("notices", [])
        ],
        "molecules": _accounts(files, manifests),
        "mix": _account(mix, files),
    }


def _recipe(mix: Mix, members: list[MemberRows], columns: list[MixColumn]) -> dict[str, Any]:
    """The mix as it was written, and what readers of any recipe look for."""
    recipes = {member.name: member.shards.manifest["recipe"] for member in members}
    structures = [recipe["structure"] for recipe in recipes.values()]
    metals = {structure["metals"] for structure in structures}
    labels = []
    for column in columns:
        if column.label is not None:
            member, name = next(iter(column.members.items()))
            declared = {label["name"]: label for label in recipes[member]["labels"]}[name]
            labels.append(declared | {"name": column.name, "residual_of": column.residual_of})
    return mix.model_dump(mode="json") | {
        "structure": structures[0]
        | {
            "max_heavy_atoms": max(structure["max_heavy_atoms"] for structure in structures),
            "metals": "remove" if "remove" in metals else "drop",
        },
        "labels": labels,
    }


def _source(manifests: dict[str, dict]) -> dict[str, Any]:
    sources = [manifest["source"] for manifest in manifests.values()]
    return {
        "file": ", ".join(source["file"] for source in sources),
        "bytes": sum(source["bytes"] for source in sources),
        "sha256": None,  # each member's stands under `mix`
    }


def _lost_reasons(files: MixFiles) -> dict[str, dict[str, int]]:
    """Rows that are no sample by step and reason, in all members."""
    lost: dict[str, Counter] = {}
    for member in files.members:
        for step, reasons in member.shards.manifest["dropped"].items():
            lost.setdefault(step, Counter()).update(reasons)
    n_joined = sum(member.shards.n for member in files.members) - len(files.plan.samples)
    if n_joined:
        lost["mix"] = Counter({JOINED: n_joined})
    return {step: dict(reasons.most_common()) for step, reasons in lost.items()}


def _counts(files: MixFiles, parts: list[Path], manifests: dict[str, dict]) -> dict[str, Any]:
    of_members = [manifest["counts"] for manifest in manifests.values()]
    copies: Counter = Counter()
    for counts in of_members:
        copies.update({k: v for k, v in counts["duplicates"].items() if isinstance(v, int)})
    conflicts = pq.read_table(files.folder / CONFLICTS, columns=["row"])
    return count_molecules(parts) | {
        "loose_duplicates": files.plan.account["loose_duplicates"],
        "duplicates": dict(copies) | {"conflicting": len(conflicts.column("row").unique())},
        "given_coords_replaced": sum(c.get("given_coords_replaced", 0) for c in of_members),
        "repeated_join_keys": sum(c.get("repeated_join_keys", 0) for c in of_members),
    }


def _describe_split(plan: Plan) -> dict[str, Any]:
    """Sizes of the sides of a mix's split, and how near its test is to its training molecules."""
    side = plan.samples.column("side").to_numpy()
    random = np.random.default_rng(SEED)
    chosen = []
    for value, most in ((TEST, N_TEST), (TRAIN, N_TRAIN)):
        of_side = random.permutation(np.flatnonzero(side == value))[:most]
        chosen.append(plan.samples.column("smiles").take(pa.array(np.sort(of_side))).to_pylist())
    test, train = chosen
    median = None
    if test and train:
        median = round(float(np.median(nearest_similarities(test, train))), 4)
    return {
        "kind": "mix",
        **_sizes(side),
        "without_side": int((side < 0).sum()),
        "nn_similarity_median": median,
        "nn_similarity_of": {"test": len(test), "train": len(train)},
    }


def _sizes(side: np.ndarray) -> dict[str, int]:
    """Molecules of each part of a split; of parts beyond train, val, test where there are any."""
    sizes = {name: int((side == value).sum()) for value, name in enumerate(SPLIT_VALUES)}
    expected = SPLIT_VALUES[: TEST + 1]
    return {name: size for name, size in sizes.items() if size or name in expected}


def _fits(members: list[MemberRows], columns: list[MixColumn]) -> dict[str, dict]:
    """The prices of elements of residual labels, under the names of the mix."""
    fits = {member.name: member.shards.manifest["fits"] for member in members}
    renamed = {}
    for column in columns:
        if column.residual_of is not None:
            member, name = next(iter(column.members.items()))
            renamed[column.name] = fits[member][name] | {"of": column.residual_of}
    return renamed


def _accounts(files: MixFiles, manifests: dict[str, dict]) -> dict[str, Any]:
    """What members say of the columns of their sources, under the names of the mix."""
    columns = {}
    missing = {}
    for column in files.columns:
        member, name = next(iter(column.members.items()))
        of_member = manifests[member]["molecules"]
        for accounts, key in ((columns, "columns"), (missing, "missing_in_source")):
            if name in of_member.get(key, {}):
                accounts[column.name] = of_member[key][name]
    return {"columns": columns, "missing_in_source": missing}


def _account(mix: Mix, files: MixFiles) -> dict[str, Any]:
    """What is said of the members: rows, samples, sides, weight; joins, conflicts, leaks."""
    described = {}
    for member, rows in zip(files.members, files.plan.rows, strict=True):
        manifest = member.shards.manifest
        sides = np.asarray(member.shards.array(f"split_{member.split}"))
        row = rows.column("row").to_numpy()
        described[member.name] = {
            "recipe": manifest["name"],
            "recipe_id": manifest["recipe_id"],
            "folder": member.shards.path.name,
            "sha256": manifest["source"]["sha256"],
            "rows": manifest["n_sampled"],
            "first_row": member.first_row,
            "molecules": member.shards.n,
            "joined": int((row != rows.column("sample").to_numpy()).sum()),
            "split": member.split,
            "sides": _sizes(sides),
            "weight": mix.members[member.name].weight,
        }
    table = pq.read_table(files.folder / CONFLICTS, columns=["label", DATASET])
    between = table.filter(pc.match_substring(table.column(DATASET), "+"))
    account = {key: files.plan.account[key] for key in ("joined", "apart", "leaks", "leaking")}
    by_label = Counter(between.column("label").to_pylist())
    renamed = {
        column.name: next(iter(column.members))
        for column in files.columns
        if column.label is not None and column.name not in column.members.values()
    }
    return {
        "members": described,
        **account,
        "leaks_dropped": mix.leaks == "drop",
        "conflicts": dict(by_label.most_common()),
        "renamed": renamed,
    }


# -------------------------------------------------------------------------------------- labels


def describe_labels(files: MixFiles, parts: list[Path]) -> dict[str, dict]:
    """What a label is, by its name in the mix, how many samples have it, and why others lack it."""
    labels = [column for column in files.columns if column.label is not None]
    stored = [column for column in labels if column.residual_of is None]
    known: Counter = Counter()
    missing: dict[str, Counter] = {column.name: Counter() for column in labels}
    classes: dict[str, Counter] = {column.name: Counter() for column in labels}
    lost = _without_value(files.folder)
    derived = None
    if len(stored) < len(labels):
        derived = pq.read_table(files.folder / "derived.parquet")
    start = 0
    for table in read_parts(parts, ["row", MISSING, DATASET, *(c.name for c in stored)]):
        for column in labels:
            source = table
            if column.residual_of is not None:
                source = derived.slice(start, len(table))
            values = source.column(column.name)
            known[column.name] += len(table) - values.null_count
            missing[column.name].update(_reasons(column, values, table, lost))
            if "classes" in column.label:
                classes[column.name].update(values.drop_null().to_pylist())
        start += len(table)
    return {
        column.name: column.label
        | {
            "name": column.name,
            "known": known[column.name],
            "missing": dict(sorted(missing[column.name].items())),
        }
        | _class_counts(column, classes[column.name])
        for column in labels
    }


def _class_counts(column: MixColumn, counts: Counter) -> dict[str, dict[str, int]]:
    names = column.label.get("classes")
    if names is None:
        return {}
    return {"class_counts": {name: counts[number] for number, name in enumerate(names)}}


def _reasons(
    column: MixColumn, values: pa.ChunkedArray, table: pa.Table, lost: dict[str, set[int]]
) -> Counter:
    """Why samples of a part lack a label."""
    lacking = table.select(["row", MISSING, DATASET]).filter(pc.is_null(values))
    datasets = pc.value_counts(lacking.column(DATASET)).to_pylist()
    without = {item["values"] for item in datasets}
    without = {text for text in without if not set(text.split("+")) & set(column.members)}
    reasons: Counter = Counter()
    for item in datasets:
        if item["values"] in without:
            reasons[ELSEWHERE] += item["counts"]
    elsewhere = pc.is_in(lacking.column(DATASET), value_set=pa.array(list(without), pa.string()))
    others = lacking.filter(pc.invert(elsewhere))
    unknown = ABSENT_ELEMENT if column.residual_of is not None else UNKNOWN
    disagreeing = lost.get(column.name, set())
    for row, reason in zip(
        others.column("row").to_pylist(), others.column(MISSING).to_pylist(), strict=True
    ):
        reasons[reason or (DISAGREEING if row in disagreeing else unknown)] += 1
    return reasons


def _without_value(folder: Path) -> dict[str, set[int]]:
    """Samples that lost a label because the rows of a member disagree, by label."""
    table = pq.read_table(folder / CONFLICTS, columns=["row", "label", "kept"])
    table = table.filter(pc.is_null(table.column("kept")))
    lost: dict[str, set[int]] = {}
    for row, label in zip(
        table.column("row").to_pylist(), table.column("label").to_pylist(), strict=True
    ):
        lost.setdefault(label, set()).add(row)
    return lost
