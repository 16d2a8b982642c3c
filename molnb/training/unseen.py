"""Features that training never saw: found when a run starts, set to zero, named in every answer
that has them.

A row of an embedding table that no training molecule asks for would stay at its random start and
disturb whoever asks for it later. Under the conventions of molnb such rows are zero from the first
step on. They get no gradient, and weight decay keeps zero at zero, so an unseen element or
chirality contributes nothing. The exception is the distance kernel: its rows of an unseen element
keep the initial stretch (but for weight decay), so that distances to such an atom are still read.

A run lists them by name in `unseen.json`. It inherits the list of the run it starts from, less what
it has now seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import torch

from ..data.batch import MolBatch, pad
from ..data.crops import crop, select
from ..data.dataset import Corpus
from ..files import write_json
from ..models.model import Model
from ..models.unimol2.config import Conventions
from ..models.unimol2.encoder import TwoTrack
from ..models.unimol2.inputs import MASK_TOKEN, N_BOND_VALUE, N_DEGREE, N_FEATURE, N_HOP, N_TOKEN
from ..objectives.pretraining import Pretrain
from ..objectives.supervised import Supervised
from .runs import Run, find_run

SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb "
    "Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au "
    "Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv "
    "Ts Og"
).split()
_TAGS = "none CW CCW TRIGONALBIPYRAMIDAL OCTAHEDRAL SQUAREPLANAR OTHER".split()
_PARITIES = ("none", "parity 1", "parity 2")
# What each column of `features.atom_features` and `features.bond_features` can say, in the order of
# its values.
ATOM_VALUES = (
    ("chirality", _TAGS),
    ("neighbours", (*range(11), "more")),
    ("charge", (*range(-5, 6), "other")),
    ("hydrogens", (*range(9), "more")),
    ("radical electrons", (*range(5), "more")),
    ("hybridisation", ("SP", "SP2", "SP3", "SP3D", "SP3D2", "other")),
    ("aromatic atom", ("no", "yes")),
    ("ring atom", ("no", "yes")),
)
BOND_VALUES = (
    ("bond type", ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC", "other")),
    ("bond stereo", ("none", "Z", "E", "CIS", "TRANS", "ANY")),
    ("conjugated bond", ("no", "yes")),
)
TABLES = {
    "tokens": N_TOKEN,
    "features": N_FEATURE,
    "degrees": N_DEGREE,
    "bonds": N_BOND_VALUE,
    "hops": N_HOP,
}
_HIDDEN, _NO_BOND, _NO_PATH, _HIDDEN_PATH = 1, 2, 510, 511
_CHUNK = 32_768  # molecules counted at once
_LONGER = re.compile(r"path: over (\d+) bonds")

Rows = dict[str, np.ndarray]  # table of the encoder -> bool, one a row


@cache
def row_names(parity: bool = True) -> dict[str, dict[int, str]]:
    """What each row of the encoder's embedding tables stands for: table, row, name."""
    atom = [
        (name, _PARITIES if parity and name == "chirality" else values)
        for name, values in ATOM_VALUES
    ]
    features = {
        3 + 16 * k + v: f"{name}: {word}"
        for k, (name, words) in enumerate(atom)
        for v, word in enumerate(words)
    }
    bonds = {
        4 + 16 * k + v: f"{n}: {word}"
        for k, (n, words) in enumerate(BOND_VALUES)
        for v, word in enumerate(words)
    }
    paths = {p + 1: f"path: {p} bonds" for p in range(_NO_PATH - 1)}
    return {
        "tokens": {z: f"element: {s}" for z, s in enumerate(SYMBOLS, 1)}
        | {MASK_TOKEN: "hidden: element"},
        "features": {_HIDDEN: "hidden: features"} | features,
        "degrees": {_HIDDEN: "hidden: degree"}
        | {d + 2: f"heavy neighbours: {d}" for d in range(N_DEGREE - 2)},
        "bonds": {_HIDDEN: "hidden: bond", _NO_BOND: "bond type: no bond"} | bonds,
        "hops": paths | {_NO_PATH: "path: none", _HIDDEN_PATH: "hidden: path"},
    }


def empty_rows() -> Rows:
    """No row of any table."""
    return {table: np.zeros(n, bool) for table, n in TABLES.items()}


def degrees(batch: MolBatch) -> np.ndarray:
    """Bonds of each atom of a flat batch, to the atoms that the batch has."""
    start = (batch.n_atoms.cumsum(0) - batch.n_atoms)[batch.mol_of_bond()]
    return torch.bincount(
        (start[:, None] + batch.bonds).flatten(), minlength=len(batch.numbers)
    ).numpy()


def shown_rows(batch: MolBatch, parity: bool = True) -> Iterator[tuple[str, np.ndarray, str]]:
    """Which rows a batch asks for, but for paths: (table, row of each atom or bond, "atom" or
    "bond").
    """
    feats = batch.feats.numpy().astype(np.int64)
    yield "tokens", batch.numbers.numpy().astype(np.int64), "atom"
    yield "degrees", degrees(batch) + 2, "atom"
    for column in range(8):
        values = feats[:, 8] if column == 0 and parity else feats[:, column]
        yield "features", values + 3 + 16 * column, "atom"
    for column in range(3):
        yield (
            "bonds",
            batch.bond_feats.numpy()[:, column].astype(np.int64) + 4 + 16 * column,
            "bond",
        )


def find_seen(
    corpus: Corpus,
    ids: np.ndarray,
    objective: Pretrain | Supervised,
    conventions: Conventions,
    max_atoms: int | None = None,
    seed: int = 0,
) -> Rows:
    """The rows that training on these molecules can ask for.

    Reads each molecule once; large ones as first cropped.
    """
    seen, parity = empty_rows(), conventions.chirality == "parity"
    longest = np.zeros(len(ids), np.int64)  # no shortest path of the molecule can be longer
    for first in range(0, len(ids), _CHUNK):
        batch = crop(corpus.batch(ids[first : first + _CHUNK]), max_atoms, seed, 0)
        for table, rows, _ in shown_rows(batch, parity):
            seen[table] |= np.bincount(rows, minlength=TABLES[table])[: TABLES[table]] > 0
        longest[first : first + _CHUNK] = _path_bound(batch)
    for batch in _by_bound(corpus, ids, longest, seen["hops"]):
        seen["hops"] |= _path_rows(crop(batch, max_atoms, seed, 0))
    seen["bonds"][_NO_BOND] = True  # an atom and itself
    drop, mask = objective.drop_features, getattr(objective, "mask_share", 0.0)
    if drop == 1:
        seen |= {
            table: np.zeros_like(seen[table]) for table in ("features", "degrees", "bonds", "hops")
        }
    if mask == 1:
        seen["tokens"][:] = False
    for table in ("features", "degrees", "bonds"):
        seen[table][_HIDDEN] = drop > 0
    seen["hops"][_HIDDEN_PATH] = drop > 0
    seen["tokens"][MASK_TOKEN] = mask > 0
    return seen


def _path_bound(batch: MolBatch) -> np.ndarray:
    """An upper limit of the shortest paths in each molecule: a path visits an atom once, and two
    end atoms at most.
    """
    n = batch.n_atoms.numpy()
    ends = np.bincount(batch.mol_of_atom().numpy()[degrees(batch) == 1], minlength=batch.n_mol)
    return np.minimum(n - 1, n - ends + 1)


def _by_bound(
    corpus: Corpus, ids: np.ndarray, longest: np.ndarray, seen: np.ndarray
) -> Iterator[MolBatch]:
    """Molecules by falling limit, until none left can hold a longer path than was seen (rows of
    `seen`, path + 1).

    A molecule with a path of k bonds has one of every shorter length, so the longest tells all.
    """
    order = np.argsort(-longest, kind="stable")
    for first in range(0, len(order), 128):
        known = np.flatnonzero(seen[:_NO_PATH])
        if len(known) and longest[order[first]] < known[-1]:
            return
        yield corpus.batch(ids[order[first : first + 128]])


def _path_rows(batch: MolBatch) -> np.ndarray:
    view = pad(batch)
    hops = view.hops[view.real[:, :, None] & view.real[:, None, :]].long()
    return np.bincount(torch.where(hops < 0, _NO_PATH, hops + 1).numpy(), minlength=N_HOP) > 0


def _paths(batch: MolBatch, known: int) -> list[tuple[int, int, bool]]:
    """Molecules that may hold a path longer than `known`, or none between two atoms: number,
    longest, pieces.
    """
    pieces = (batch.n_bonds < batch.n_atoms - 1).numpy()
    which = torch.from_numpy(np.flatnonzero((_path_bound(batch) > known) | pieces))
    if not len(which):
        return []
    view = pad(select(batch, which))
    apart = (view.hops < 0) & view.real[:, :, None] & view.real[:, None, :]
    return list(
        zip(which.tolist(), view.hops.flatten(1).amax(1).tolist(), apart.flatten(1).any(1).tolist())
    )


class Unseen:
    """Rows of the embedding tables that training never asked for; empty for a run that keeps no
    list.
    """

    def __init__(self, rows: Rows, parity: bool = True):
        self.rows, self.parity = rows, parity

    @classmethod
    def but(cls, seen: Rows, parity: bool = True) -> Unseen:
        """All rows that mean something, but for those seen."""
        rows = empty_rows()
        for table, names in row_names(parity).items():
            rows[table][[row for row in names if not seen[table][row]]] = True
        return cls(rows, parity)

    @classmethod
    def named(cls, names: Iterable[str], parity: bool = True) -> Unseen:
        """From the names of `names()`."""
        wanted = set(names)
        for longer in filter(None, map(_LONGER.fullmatch, list(wanted))):
            wanted |= {f"path: {p} bonds" for p in range(int(longer[1]) + 1, _NO_PATH - 1)}
        rows = empty_rows()
        for table, known in row_names(parity).items():
            rows[table][[row for row, name in known.items() if name in wanted]] = True
        return cls(rows, parity)

    def names(self) -> list[str]:
        """Each as "what: value"; the paths above the longest that was seen in one."""
        found = [
            name
            for t, known in row_names(self.parity).items()
            for row, name in known.items()
            if self.rows[t][row]
        ]
        longest = self.longest_path
        if longest == _NO_PATH - 2:
            return found
        paths = {f"path: {p} bonds" for p in range(longest + 1, _NO_PATH - 1)}
        return [name for name in found if name not in paths] + [f"path: over {longest} bonds"]

    @property
    def longest_path(self) -> int:
        """The longest shortest path (bonds) that is not among the unseen."""
        seen = np.flatnonzero(~self.rows["hops"][1:_NO_PATH])
        return int(seen[-1]) if len(seen) else -1

    def both(self, other: Unseen) -> Unseen:
        """What neither of two runs has seen."""
        return Unseen(
            {table: rows & other.rows[table] for table, rows in self.rows.items()}, self.parity
        )

    @torch.no_grad()
    def silence(self, encoder: TwoTrack) -> None:
        """Set these rows of an encoder to zero."""
        for table, rows in self.rows.items():
            getattr(encoder, table).weight[torch.from_numpy(rows)] = 0.0

    def notes(self, batch: MolBatch) -> list[tuple[str, ...]]:
        """The unseen features that each molecule of a batch (on the CPU) shows, by name."""
        if not any(rows.any() for rows in self.rows.values()):
            return [()] * batch.n_mol
        found: list[dict[str, None]] = [{} for _ in range(batch.n_mol)]
        names = row_names(self.parity)
        owner = {"atom": batch.mol_of_atom().numpy(), "bond": batch.mol_of_bond().numpy()}
        for table, rows, level in shown_rows(batch, self.parity):
            for at in np.flatnonzero(self.rows[table][rows]):
                found[owner[level][at]][names[table].get(int(rows[at]), "")] = None
        for at, longest, apart in _paths(batch, self.longest_path):
            if longest > self.longest_path:
                found[at][f"path: over {self.longest_path} bonds"] = None
            if apart and self.rows["hops"][_NO_PATH]:
                found[at]["path: none"] = None
        return [tuple(names) for names in found]


def silence_unseen(model: Model, run: Run, corpus: Corpus, ids: np.ndarray) -> None:
    """Set to zero what the training rows `ids` never show, before the first step; keep the list in
    the run's folder.

    Of the run it starts from, a run inherits what that one had not seen either; all of it if the
    embeddings are frozen. Runs begun before there were such lists, and weights of the reference,
    which knows no such rule, stay as they are.
    """
    config, file = run.config, run.path / "unseen.json"
    conventions = config.model.conventions
    parity = conventions.chirality == "parity"
    if conventions.name == "reference":
        return
    if not file.exists():
        if any((run.path / "checkpoints").glob("step-*.safetensors")):
            return
        seen = find_seen(corpus, ids, config.objective, conventions, config.max_atoms, config.seed)
        found = Unseen.but(seen, parity)
        if config.start_from:
            before = Unseen.named(find_run(config.start_from).unseen(), parity)
            found = before if config.frozen_layers else before.both(found)
        write_json({"unseen": found.names()}, file)
    Unseen.named(run.unseen(), parity).silence(model.encoder)
