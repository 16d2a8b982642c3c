"""Which molecules a run draws: evenly, or scaffolds by temperature, from datasets by weight.

The Uni-Mol2 paper draws training molecules by their scaffold: with N_i molecules on scaffold i,

    p_i = N_i / sum(N),   P_i = softmax(p_i / tau)

(Uni-Mol2, Equation 1), then a molecule of the scaffold. Here that is one pure function of (seed,
number of the draw). Nothing is remembered between steps: two tables are made once, the bounds of
each scaffold's stretch of the interval from 0 to 1, and the molecules in the order of their
scaffolds. A draw is a point of the interval: its stretch is the scaffold, the place in the stretch
the molecule.

Points of n draws, n being the number of molecules, lie 1/n apart, in shuffled order; every n draws
they shift by the golden section. Each point alone is uniform, so a draw has exactly the
probability of Equation 1; together they visit a scaffold as often as it is due, give or take one,
and its molecules one after another: one comes again only after the others came, as often as one
can. Datasets with weights are dealt: in every `DEAL` draws each has its share, to one draw, so how
many draws it had before is known without counting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, did_you_mean
from ..rng import hash64, integer_seed, shuffled, uniform
from ..shapes import Float, Int

KINDS = ("uniform", "scaffold")
TAU = 0.005  # the Uni-Mol2 paper's
DEAL = 1 << 8  # draws in which datasets have their shares, to one draw
_GOLDEN = (5**0.5 - 1) / 2
# Channels of random numbers: what one of them decides, no other does.
_DATASETS, _WITHIN, _SHIFT, _ORDER = 101, 102, 103, 104


@dataclass(frozen=True)
class Sampling:
    """How the molecules of a step are drawn from the training rows.

    `uniform` shows all once an epoch, in shuffled order. `scaffold` draws scaffolds with a
    probability of softmax(share / `tau`) and the molecules of a scaffold in turn; molecules without
    a ring are one scaffold together. Large `tau` draws scaffolds evenly, small `tau` the most
    frequent ones only; shares are larger in a small corpus, so it does not carry over. `weights`
    are shares of datasets by name, relative to each other, of all datasets or of none; without,
    datasets count by their molecules. Of a mix the members have weights, or the mix as a whole.
    With a `temperature` T instead, a dataset of n training molecules has a share proportional to
    n^(1/T): at 1 datasets count by their size, the higher it is the more evenly, at infinity all
    the same. Members of a mix are datasets then.
    """

    kind: str = "uniform"
    tau: float = TAU
    weights: Mapping[str, Any] = field(default_factory=dict)  # numbers above 0
    temperature: Any | None = None  # a number above 0

    def __post_init__(self):
        if self.kind not in KINDS:
            raise InputError(
                f"sampling.kind is {self.kind!r}{did_you_mean(str(self.kind), KINDS)}: choose "
                f"{' or '.join(KINDS)}"
            )
        if not 0 < self.tau < np.inf:
            raise InputError(
                f"sampling.tau is {self.tau}: give a number above 0 (the paper's is {TAU})"
            )
        for name, weight in self.weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
                raise InputError(
                    f"sampling.weights has {weight!r} for {name!r}: give a number above 0, or "
                    "leave the dataset out of the data"
                )
        numbers = {name: float(weight) for name, weight in self.weights.items()}
        object.__setattr__(self, "weights", numbers)  # as they are read back from JSON
        if self.temperature is not None:
            self._check_temperature()
            object.__setattr__(self, "temperature", float(self.temperature))

    def _check_temperature(self) -> None:
        """Raise InputError for a temperature that is none, or that weights contradict."""
        given = self.temperature
        if isinstance(given, bool) or not isinstance(given, int | float) or not given > 0:
            raise InputError(
                f"sampling.temperature is {given!r}: give a number above 0 (1 draws datasets by "
                "their size, a large one evenly)"
            )
        if self.weights:
            raise InputError(
                f"sampling has weights ({', '.join(self.weights)}) and the temperature {given:g}: "
                "give one of them, both say how much of each dataset is drawn"
            )

    @property
    def plain(self) -> bool:
        """Whether every molecule is shown once an epoch, whatever its scaffold and dataset."""
        return self.kind == "uniform" and not self.by_dataset

    @property
    def by_dataset(self) -> bool:
        """Whether datasets have shares of their own."""
        return bool(self.weights) or self.temperature is not None


def make_sampling(stored: Mapping[str, Any]) -> Sampling:
    """A sampling from its stored form; runs from before there was a choice have none."""
    unknown = set(stored) - set(Sampling.__dataclass_fields__)
    if unknown:
        raise InputError(f"unknown keys in a run's sampling: {', '.join(sorted(unknown))}")
    return Sampling(**stored)


class _Pool(NamedTuple):
    """The molecules that are drawn from together: those of a dataset, or all.

    By scaffold where scaffolds count: then `bounds` are the ends of their stretches of the interval
    from 0 to 1, and `first` says where the molecules of each begin, and the last one's end.
    """

    ids: Int[np.ndarray, " mol"]  # positions among the training rows
    bounds: Float[np.ndarray, " scaffold"] | None = None
    first: Int[np.ndarray, " edge"] | None = None


class _Dealt(NamedTuple):
    """Of each draw the number of its pool, and how many draws that pool had before."""

    pool: Int[np.ndarray, " draw"]
    serial: Int[np.ndarray, " draw"]


class Draws:
    """The draws of a run: `positions(step)` says which training rows form a step."""

    def __init__(self, pools: Sequence[_Pool], shares: np.ndarray, seed: int):
        self.pools = pools
        self.shares = shares
        self.seed = seed
        self.n = sum(len(pool.ids) for pool in pools)
        # Draws of a deal: a few, so that shares are exact soon; at least one for each dataset.
        self.n_deal = max(DEAL, 1 << int(np.ceil(-np.log2(shares.min()))))
        self.ends = self.n_deal * np.cumsum(shares)  # of each pool's part of a deal, not rounded
        self.ends[-1] = self.n_deal

    def positions(self, step: int, global_batch: int) -> Int[np.ndarray, " draw"]:
        """Positions among the training rows of the samples that form a step.

        A pure function of the seed, step and global batch, so resuming needs one integer.
        """
        draw = step * global_batch + np.arange(global_batch, dtype=np.int64)
        if len(self.pools) == 1:
            return self._in_pool(0, draw)
        dealt = self._deal(draw)
        positions = np.empty(global_batch, np.int64)
        for number in np.unique(dealt.pool).tolist():
            chosen = dealt.pool == number
            positions[chosen] = self._in_pool(number, dealt.serial[chosen])
        return positions

    def _deal(self, draw: np.ndarray) -> _Dealt:
        """Which pool each draw is from, and how many draws that pool had before.

        A pool's draws in all deals before are a difference of rounded ends: nothing is counted.
        Inside a deal they are numbered by place, not by time.
        """
        deal = draw // self.n_deal
        seed = integer_seed(self.seed, _DATASETS)
        place = shuffled(draw % self.n_deal, self.n_deal, seed, deal)
        before = np.floor(deal[:, None] * self.ends).astype(np.int64)
        ends = np.floor((deal[:, None] + 1) * self.ends).astype(np.int64) - before
        pool = (place[:, None] >= ends).sum(1)
        row = np.arange(len(draw))
        starts = np.pad(ends, ((0, 0), (1, 0)))[row, pool]
        earlier = np.diff(before, prepend=0)[row, pool]
        return _Dealt(pool, earlier + place - starts)

    def _in_pool(self, number: int, serial: np.ndarray) -> np.ndarray:
        """The draws of these serial numbers from a pool, as positions among the training rows."""
        pool = self.pools[number]
        n = len(pool.ids)
        epoch = serial // n
        if pool.bounds is None:
            seed = self.seed if len(self.pools) == 1 else integer_seed(self.seed, _WITHIN, number)
            return pool.ids[shuffled(serial % n, n, seed, epoch)]
        seed = integer_seed(self.seed, _WITHIN, number)
        place = shuffled(serial % n, n, seed, epoch)
        shift = (uniform(self.seed, _SHIFT, number) + epoch * _GOLDEN) % 1.0
        return pool.ids[_at_points(pool, (place + shift) / n)]

    def probabilities(self) -> Float[np.ndarray, " mol"]:
        """How probable each training row is in a draw; they sum to one."""
        probabilities = np.zeros(self.n)
        for pool, share in zip(self.pools, self.shares, strict=True):
            n = len(pool.ids)
            each = np.full(n, 1 / n)
            if pool.bounds is not None:
                counts = np.diff(pool.first)
                each = np.repeat(np.diff(pool.bounds, prepend=0.0) / counts, counts)
            probabilities[pool.ids] = share * each
        return probabilities

    def expected_seen(self, n_draw: int) -> float:
        """About how many different training rows some draws hold."""
        seen = self.probabilities()
        seen *= n_draw
        return float(np.minimum(seen, 1, out=seen).sum())


def _at_points(pool: _Pool, points: np.ndarray) -> np.ndarray:
    """Indices into a pool's molecules that lie at points of the interval from 0 to 1."""
    points = np.minimum(points, np.nextafter(1.0, 0.0))  # which rounding may have made 1
    scaffold = np.searchsorted(pool.bounds, points, side="right")
    begin = np.where(scaffold > 0, pool.bounds[scaffold - 1], 0.0)
    width = pool.bounds[scaffold] - begin
    n_molecule = pool.first[scaffold + 1] - pool.first[scaffold]
    turn = np.floor((points - begin) / width * n_molecule).astype(np.int64)
    return pool.first[scaffold] + np.clip(turn, 0, n_molecule - 1)


def scaffold_probabilities(
    counts: Int[np.ndarray, " scaffold"], tau: float
) -> Float[np.ndarray, " scaffold"]:
    """Probability to draw each scaffold, softmax(share / tau): Equation 1 of the Uni-Mol2 paper."""
    scaled = counts / counts.sum() / tau
    weights = np.exp(scaled - scaled.max())
    return weights / weights.sum()


def make_draws(
    sampling: Sampling,
    seed: int,
    n: int,
    scaffolds: np.ndarray | None = None,
    dataset: np.ndarray | None = None,
    names: Sequence[str] = (),
) -> Draws:
    """The draws from n training rows, whose scaffolds and datasets are given as numbers.

    `names` are those of the datasets, by their number; needed where datasets have shares, as
    `scaffolds` are where these count. Datasets without a row are not drawn by temperature, and
    refused with a weight.
    """
    rows = [np.arange(n)]
    shares = np.array([1.0])
    if sampling.by_dataset:
        rows = [np.flatnonzero(dataset == number) for number in range(len(names))]
    if sampling.temperature is not None:
        rows = [of_dataset for of_dataset in rows if len(of_dataset)]
        shares = tempered_shares(np.array([len(ids) for ids in rows]), sampling.temperature)
    elif sampling.weights:
        shares = _shares(sampling.weights, names)
        for name, of_dataset in zip(names, rows, strict=True):
            if not len(of_dataset):
                raise InputError(
                    f"sampling.weights names {name!r}, which has no training molecule to draw: "
                    "leave it out of the data, or choose another split"
                )
    return Draws([_make_pool(ids, sampling, scaffolds, seed) for ids in rows], shares, seed)


def tempered_shares(
    counts: Int[np.ndarray, " dataset"], temperature: float
) -> Float[np.ndarray, " dataset"]:
    """The share of each dataset, proportional to its number of molecules to the power of 1 / T."""
    # of the largest, so that a small T overflows nothing; the tiniest share is one in 2^40 draws
    powers = (counts / counts.max()) ** (1 / temperature)
    shares = np.maximum(powers, 2.0**-40)
    return shares / shares.sum()


def _shares(weights: Mapping[str, float], names: Sequence[str]) -> np.ndarray:
    """The weight of each dataset as a share of one; every dataset has one."""
    for name in weights:
        if name not in names:
            raise InputError(
                f"sampling.weights names {name!r}{did_you_mean(name, names)}, the data are "
                f"{', '.join(names)}"
            )
    missing = [name for name in names if name not in weights]
    if missing:
        raise InputError(
            f"sampling.weights has nothing for {', '.join(missing)}: give every dataset a weight, "
            "or none"
        )
    shares = np.array([weights[name] for name in names], float)
    return shares / shares.sum()


def _make_pool(
    ids: np.ndarray, sampling: Sampling, scaffolds: np.ndarray | None, seed: int
) -> _Pool:
    if sampling.kind == "uniform":
        return _Pool(ids)
    order = np.lexsort((hash64(seed, _ORDER, ids), scaffolds[ids]))
    ordered = scaffolds[ids[order]]
    first = np.append(np.flatnonzero(np.diff(ordered, prepend=-1)), len(ids))
    bounds = np.cumsum(scaffold_probabilities(np.diff(first), sampling.tau)).clip(max=1.0)
    drawn = np.flatnonzero(np.diff(bounds, prepend=0.0) > 0)  # others are too improbable to count
    bounds[drawn[-1] :] = 1.0
    return _Pool(ids[order], bounds, first)
