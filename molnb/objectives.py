"""Objectives: hide, add noise, predict, score. Each returns named terms, kept as a sum and a count.

A global batch is worked through in groups of similar size; sums are added and divided once, so the grouping never
changes the loss. What is hidden and which noise is added depends only on (seed, step, sample).

Pretraining (Uni-Mol2, arXiv 2406.14969, section 3.3): name masked atoms (cross entropy, nats), return displaced atoms
(L1 over x, y, z: Å), restore distances (L1: Å); equation 9 adds them with weight one. Supervised objectives score the
labels that are known.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .batches import MolBatch, pad
from .draws import hash64, normal, uniform
from .errors import Refused
from .models.heads import LabelHead
from .models.two_track import Tracks, TwoTrack, encode, mark_shapes
from .shapes import Bool, Float

_MASK, _KEY, _NOISE, _VISIBLE = range(4)  # channels of the draws


class Term(NamedTuple):
    """A sum and the number of things it runs over: their ratio is the metric."""

    total: Tensor
    count: float


class Question(NamedTuple):
    """A batch with something withheld: `hidden` atoms show no element, `noisy` coordinates (Å) stand for the true ones.

    Molecules that are not `visible` show neither features nor bonds. `counts` says how many things each term scores.
    """

    batch: MolBatch
    hidden: Bool[Tensor, " atom"]
    noisy: Float[Tensor, "atom xyz"]
    visible: Bool[Tensor, " mol"]
    counts: dict[str, float]

    def to(self, device: torch.device | str) -> Question:
        moved = [x.to(device, non_blocking=True) for x in (self.hidden, self.noisy, self.visible)]
        return Question(self.batch.to(device), *moved, self.counts)


def spread(flat: Tensor, batch: MolBatch, length: int) -> Tensor:
    """Values of a flat atom axis on the padded one; zeros where there is no atom."""
    wide = flat.new_zeros(batch.n_mol, length, *flat.shape[1:])
    wide[batch.mol_of_atom(), batch.position()] = flat
    return wide


def run_encoder(encoder: TwoTrack, question: Question, molecule_only: bool = False) -> Tracks:
    """Pad, withhold and encode: the forward pass that every objective shares."""
    batch = question.batch
    n = encoder.padded_length(batch.longest, batch.numbers.device)
    view = pad(batch, n)._replace(coords=spread(question.noisy, batch, n))
    codes = encode(view, encoder.config.conventions, spread(question.hidden, batch, n), question.visible)
    if encoder.compiled:
        mark_shapes(codes)
    return encoder(codes, molecule_only)


@dataclass(frozen=True)
class Pretrain:
    """Masked atoms, denoised coordinates and distances: the three losses of Uni-Mol2, equation 9.

    `mask_share` of the atoms are hidden (rounded up or down at random so that the mean is exact), all atoms receive
    Gaussian noise of `noise_angstrom` and are laid back over the true ones (Kabsch), and `drop_features` of the
    molecules show no features.
    """

    mask_share: float = 0.15
    noise_angstrom: float = 0.2
    drop_features: float = 0.5
    token_weight: float = 1.0
    coord_weight: float = 1.0
    distance_weight: float = 1.0
    kind: str = "pretrain"

    def __post_init__(self):
        for name in ("mask_share", "drop_features"):
            if not 0 <= getattr(self, name) <= 1:
                raise Refused(f"{name} is {getattr(self, name)}: give a share between 0 and 1")
        if self.noise_angstrom < 0:
            raise Refused(f"noise_angstrom is {self.noise_angstrom}: give a length of 0 Å or more")

    @property
    def tasks(self) -> tuple[str, ...]:
        return ()

    def ask(self, batch: MolBatch, seed: int, step: int, drop_features: float | None = None) -> Question:
        """Withhold part of each molecule. Drawn from (seed, step, sample), in float64 on the CPU."""
        drop = self.drop_features if drop_features is None else drop_features
        ids, owner, place = batch.ids.numpy(), batch.mol_of_atom().numpy(), batch.position().numpy()
        sample = hash64(seed, step, ids)
        hidden = hide_atoms(sample, batch.n_atoms.numpy(), owner, place, self.mask_share)
        noise = normal(place[:, None] * 3 + np.arange(3), _NOISE, state=sample[owner][:, None])
        start = np.searchsorted(owner, np.arange(batch.n_mol))
        clean = _centred(batch.coords.numpy().astype(np.float64).T, owner, start).T
        noisy = align(clean + self.noise_angstrom * noise, clean, owner, batch.n_mol)
        visible = uniform(0, _VISIBLE, state=sample) >= drop
        counts = {"token_ce_nats": float(hidden.sum()), "token_accuracy": float(hidden.sum())}
        counts |= {"coord_l1_angstrom": float(batch.n_mol), "distance_l1_angstrom": float(batch.n_mol)}
        tensors = torch.from_numpy(hidden), torch.from_numpy(noisy.astype(np.float32)), torch.from_numpy(visible)
        return Question(batch, *tensors, counts)

    def make_heads(self, encoder: TwoTrack) -> nn.ModuleDict:
        return nn.ModuleDict()

    def terms(self, model: Model, question: Question) -> dict[str, Term]:
        """Score the answers to a question; see the class for the terms."""
        tracks = run_encoder(model.encoder, question)
        batch, n = question.batch, tracks.real.shape[1]
        truth = centred(batch)
        at = batch.mol_of_atom()[question.hidden], batch.position()[question.hidden]
        logits = model.encoder.token_head(tracks.atoms_at(*at)).float()
        elements = batch.numbers[question.hidden].long()
        scores = token_scores(logits, elements) | coord_scores(tracks.coords, spread(truth, batch, n), tracks.real)
        return {name: Term(total, question.counts[name]) for name, total in scores.items()}

    def weights(self, counts: dict[str, float]) -> dict[str, float]:
        """What each term contributes to the loss; terms left out are only watched."""
        return {
            "token_ce_nats": self.token_weight,
            "coord_l1_angstrom": self.coord_weight,
            "distance_l1_angstrom": self.distance_weight,
        }


def hide_atoms(sample, n_atoms, owner, place, share) -> np.ndarray:
    """Which atoms are masked: ⌊share·n + u⌋ of each molecule, without replacement (bool, one an atom).

    `sample` is the hash of (seed, step, id) of each molecule.
    """
    k = np.floor(share * n_atoms + uniform(0, _MASK, state=sample)).astype(np.int64)
    key = hash64(place, _KEY, state=sample[owner])
    # one key to sort by, 24 bits of molecule before 40 of the draw: many times faster than sorting by two
    order = np.argsort(owner.astype(np.uint64) << np.uint64(40) | key >> np.uint64(24))
    hidden = np.empty(len(owner), bool)
    hidden[order] = place < k[owner]  # after sorting within molecules, rank and place run alike
    return hidden


def _centred(coords: Float[np.ndarray, "xyz atom"], owner: np.ndarray, start: np.ndarray) -> np.ndarray:
    count = np.diff(start, append=coords.shape[1])
    return coords - (np.add.reduceat(coords, start, axis=1) / count)[:, owner]


def align(moving: np.ndarray, fixed: np.ndarray, owner: np.ndarray, n_mol: int) -> np.ndarray:
    """Each molecule of `moving` laid over `fixed` by the rotation and shift of least squares (Kabsch 1976), float64.

    Both are [atom, 3]; the atoms of a molecule (`owner`, ascending, at least one of each) follow one another.
    The rotation is proper: a mirror image is never turned into its twin.
    """
    start = np.searchsorted(owner, np.arange(n_mol))
    moving, about = _centred(moving.T, owner, start), _centred(fixed.T, owner, start)
    covariance = np.add.reduceat(moving[:, None] * about[None], start, axis=2)  # 3 3 mol
    u, _, vt = np.linalg.svd(covariance.transpose(2, 0, 1))
    sign = np.sign(np.linalg.det(u @ vt))
    u[:, :, 2] *= np.where(sign == 0, 1.0, sign)[:, None]
    turn = (u @ vt).transpose(1, 2, 0)[:, :, owner]  # 3 3 atom
    turned = sum(moving[axis] * turn[axis] for axis in range(3))
    return (turned + fixed.T - about).T


def centred(batch: MolBatch) -> Float[Tensor, "atom xyz"]:
    """True coordinates about each molecule's centre (Å): what denoising should return."""
    owner = batch.mol_of_atom()
    total = batch.coords.new_zeros(batch.n_mol, 3).index_add_(0, owner, batch.coords)
    return batch.coords - (total / batch.n_atoms[:, None])[owner]


def token_scores(logits: Float[Tensor, "k 128"], elements: Tensor) -> dict[str, Tensor]:
    """Summed cross entropy (nats) and number of atoms named correctly. Zero, not NaN, where nothing was masked."""
    right = (logits.argmax(-1) == elements).sum()
    return {"token_ce_nats": F.cross_entropy(logits, elements, reduction="sum"), "token_accuracy": right}


def coord_scores(coords: Tensor, truth: Tensor, real: Tensor) -> dict[str, Tensor]:
    """Summed over molecules: L1 displacement an atom and L1 error a pair (self pairs counted, as in the paper), Å."""
    n = real.sum(1)
    pairs = real[:, :, None] & real[:, None, :]
    moved = ((coords - truth).abs().sum(-1) * real).sum(1) / n
    error = (distances(coords) - distances(truth)).abs() * pairs
    return {"coord_l1_angstrom": moved.sum(), "distance_l1_angstrom": (error.sum((1, 2)) / n**2).sum()}


def distances(coords: Float[Tensor, "mol n xyz"]) -> Float[Tensor, "mol n n"]:
    """Distances between all atoms (Å); the gradient at zero distance is zero."""
    return torch.linalg.vector_norm(coords[:, None] - coords[:, :, None], dim=-1)


class Task(NamedTuple):
    """A group of label columns with one head: what their scale was on training rows, and how they are scored.

    `mean` and `scale` are one number a label, in its unit; binary labels have mean 0 and scale 1.
    """

    name: str
    level: str
    kind: str
    loss: str
    labels: tuple[str, ...]
    units: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]


_LOSSES = {
    "mae": F.l1_loss,
    "mse": F.mse_loss,
    "smooth_mae": F.smooth_l1_loss,
    "bce": F.binary_cross_entropy_with_logits,
}


@dataclass(frozen=True)
class Supervised:
    """Known labels of one or several tasks: the mean over tasks of the mean over known labels.

    Regression labels are learnt in units of their standard deviation over training rows and reported in their own.
    Features are visible, coordinates are the conformer's, nothing is masked.
    Where no task is named, all that the data have are learnt.
    """

    task_names: tuple[str, ...] = ()
    tasks_scaled: tuple[Task, ...] = ()
    head_depth: int = 2
    head_dropout: float = 0.0
    drop_features: float = 0.0
    kind: str = "supervised"

    @property
    def tasks(self) -> tuple[str, ...]:
        return self.task_names

    def ask(self, batch: MolBatch, seed: int, step: int, drop_features: float | None = None) -> Question:
        """Nothing withheld but, if asked, the features."""
        drop = self.drop_features if drop_features is None else drop_features
        visible = torch.from_numpy(uniform(seed, step, batch.ids.numpy(), 0, _VISIBLE) >= drop)
        counts = {}
        for task in self.tasks_scaled:
            known = torch.isfinite(batch.labels[task.name].values) if task.name in batch.labels else torch.zeros(0, 0)
            counts[f"{task.name}_loss"] = float(known.sum())
            for column, name in enumerate(metric_names(task)):
                counts[name] = float(known[:, column].sum()) if known.numel() else 0.0
        hidden = torch.zeros(batch.numbers.shape[0], dtype=torch.bool)
        return Question(batch, hidden, centred(batch), visible, counts)

    def make_heads(self, encoder: TwoTrack) -> nn.ModuleDict:
        c = encoder.config
        widths = dict(d_atom=c.d_atom, d_pair=c.d_pair, depth=self.head_depth, dropout=self.head_dropout)
        return nn.ModuleDict({t.name: LabelHead(t.level, len(t.labels), **widths) for t in self.tasks_scaled})

    def terms(self, model: Model, question: Question) -> dict[str, Term]:
        """A loss a task, in scaled units, and an error a label, in the label's unit."""
        molecule_only = all(t.level == "molecule" for t in self.tasks_scaled)
        tracks = run_encoder(model.encoder, question, molecule_only)
        found: dict[str, Term] = {}
        for task in self.tasks_scaled:
            if task.name in question.batch.labels:
                known = question.batch.labels[task.name]
                guess = model.heads[task.name](tracks, question.batch, known.index)
                found |= {k: Term(v, question.counts[k]) for k, v in label_scores(task, guess, known.values).items()}
        return found

    def weights(self, counts: dict[str, float]) -> dict[str, float]:
        """Every task that has a label in the global batch counts the same."""
        present = [name for t in self.tasks_scaled if counts.get(name := f"{t.name}_loss")]
        return {name: 1.0 / len(present) for name in present}


def metric_names(task: Task) -> list[str]:
    """One name a label, ending in its unit: the mean absolute error, or the share of a binary label named wrongly."""
    if task.kind == "binary":
        return [f"{label}_wrong_share" for label in task.labels]
    endings = [f"_{unit}" if unit not in ("", "1") else "" for unit in task.units]
    return [f"{label}_mae{ending}" for label, ending in zip(task.labels, endings, strict=True)]


def label_scores(task: Task, guess: Float[Tensor, "k label"], truth: Float[Tensor, "k label"]) -> dict[str, Tensor]:
    """Summed loss (scaled units) and summed error a label (its unit); unknown labels count nothing."""
    known = torch.isfinite(truth)
    mean, scale = guess.new_tensor(task.mean), guess.new_tensor(task.scale)
    target = torch.where(known, (truth - mean) / scale, guess.detach())
    if task.kind == "binary":
        wrong = (guess > 0) != (truth > 0.5)
        loss = _LOSSES["bce"](guess, torch.where(known, truth, 0.0), reduction="none")
    else:
        wrong = (guess.detach() - target).abs() * scale
        loss = _LOSSES[task.loss](guess, target, reduction="none")
    scores = {f"{task.name}_loss": (loss * known).sum()}
    errors = (wrong * known).sum(0)
    return scores | dict(zip(metric_names(task), errors.unbind(), strict=True))


class Model(nn.Module):
    """An encoder and the heads an objective asks for: what is trained, stored and loaded."""

    def __init__(self, encoder: TwoTrack, objective: Pretrain | Supervised):
        super().__init__()
        self.encoder = encoder
        self.heads = objective.make_heads(encoder)


def make_objective(stored: dict) -> Pretrain | Supervised:
    """An objective from its stored form (see `describe`)."""
    stored = dict(stored)
    if stored["kind"] == "pretrain":
        return Pretrain(**stored)
    tasks = tuple(
        Task(**{k: tuple(v) if isinstance(v, list) else v for k, v in t.items()}) for t in stored["tasks_scaled"]
    )
    return Supervised(**{**stored, "task_names": tuple(stored["task_names"]), "tasks_scaled": tasks})


def describe(objective: Pretrain | Supervised) -> dict:
    """An objective as plain data for `config.json`."""
    found = asdict(objective)
    if isinstance(objective, Supervised):
        found["tasks_scaled"] = [t._asdict() for t in objective.tasks_scaled]
    return found
