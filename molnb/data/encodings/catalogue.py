"""Encodings by name: what a name means, how wide it is, and the numbers for any molecules.

    eigenpairs_8             atoms, 16: the lowest eigenvectors of D - A, then their eigenvalues
    eigengroups_8            atoms, 16: the same without the freedom of eigenvectors
    return_probabilities_16  atoms, 16: of a random walk, to be back after 1 to 16 steps
    electrostatic            pairs, 1: the potential that a unit charge makes
    commute                  pairs, 1: steps of a random walk there and back; -1 without a path
    transitions_4            pairs, 4: of a random walk, to be there after 1 to 4 steps
    hops                     pairs, 1: bonds on the shortest path; -1 without a path
Behind `eigenpairs_8` and `eigengroups_8`, `_sym` takes the symmetrically normalised Laplacian. A
name alone is what stands at atoms: of encodings of pairs, minimum, mean and deviation over an
atom's pairs. `bond_` in front is what stands at bonds, `pair_` at all ordered pairs of atoms.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ...errors import InputError, did_you_mean
from ...shapes import Float, Integer
from ..batch import MolBatch
from .levels import N_STATISTIC, all_pairs, between_ends, pairs_to_atoms, pairs_to_bonds
from .paths import UNREACHABLE, shortest_paths
from .resistances import commute, electrostatic
from .spectra import eigengroups, eigenpairs
from .stacks import Molecules, Stack
from .walks import return_probabilities, transitions

LEVELS = ("atom", "bond", "pair")
MOST = 64  # eigenpairs or steps of an encoding
PAIRS_AT_ONCE = 1 << 22  # whose numbers are in memory together


class Kind(NamedTuple):
    """A way to encode, the same for any number of eigenpairs or steps.

    `level` is what it describes by itself, with `width` numbers for each of its eigenpairs or
    steps. Of pairs, `is_symmetric` says that (i, j) and (j, i) agree, and `between` is what stands
    between fragments.
    """

    level: str
    width: int
    is_counted: bool
    values: Callable[[Stack, Spec], np.ndarray]
    is_symmetric: bool = True
    between: float = 0
    can_normalise: bool = False


class Spec(NamedTuple):
    """What a name means."""

    name: str
    level: str
    kind: str
    n: int  # eigenpairs or steps; 1 for kinds without
    is_normalised: bool

    @property
    def width(self) -> int:
        """How many numbers an atom, bond or pair gets."""
        kind = KINDS[self.kind]
        width = kind.width * self.n
        if kind.level == self.level:
            return width
        if kind.level == "atom":
            return 2 * width
        if self.level == "atom":
            return N_STATISTIC * width
        return width if kind.is_symmetric else 2 * width

    @property
    def is_directed(self) -> bool:
        """Of bonds: whether it differs with the direction; half of the columns are of each."""
        kind = KINDS[self.kind]
        return self.level == "bond" and kind.level == "pair" and not kind.is_symmetric

    @property
    def native(self) -> Spec:
        """The same encoding where it is computed: at the level that it describes by itself."""
        return self._replace(name="", level=KINDS[self.kind].level)


def _eigenpairs(stack: Stack, spec: Spec) -> np.ndarray:
    return eigenpairs(stack.spectrum(spec.is_normalised), spec.n)


def _eigengroups(stack: Stack, spec: Spec) -> np.ndarray:
    return eigengroups(stack.spectrum(spec.is_normalised), spec.n)


def _return_probabilities(stack: Stack, spec: Spec) -> np.ndarray:
    return return_probabilities(stack.powers((spec.n + 1) // 2), spec.n)


def _electrostatic(stack: Stack, _spec: Spec) -> np.ndarray:
    return electrostatic(stack.inverse)[..., None]


def _commute(stack: Stack, _spec: Spec) -> np.ndarray:
    return commute(stack.inverse, stack.adjacent)[..., None]


def _transitions(stack: Stack, spec: Spec) -> np.ndarray:
    return transitions(stack.powers(spec.n), stack.adjacent)


def _hops(stack: Stack, _spec: Spec) -> np.ndarray:
    return shortest_paths(torch.from_numpy(stack.adjacent)).numpy()[..., None]


KINDS = {
    "eigenpairs": Kind("atom", 2, True, _eigenpairs, can_normalise=True),
    "eigengroups": Kind("atom", 2, True, _eigengroups, can_normalise=True),
    "return_probabilities": Kind("atom", 1, True, _return_probabilities),
    "electrostatic": Kind("pair", 1, False, _electrostatic, is_symmetric=False),
    "commute": Kind("pair", 1, False, _commute, between=UNREACHABLE),
    "transitions": Kind("pair", 1, True, _transitions, is_symmetric=False),
    "hops": Kind("pair", 1, False, _hops, between=UNREACHABLE),
}
_NAME = re.compile(r"(?:(bond|pair)_)?([a-z_]*[a-z])(?:_([1-9]\d*))?(_sym)?")
_EXAMPLES = (
    "eigenpairs_8 eigenpairs_8_sym eigengroups_8 return_probabilities_16 electrostatic commute "
    "transitions_4 hops"
).split()


def parse(name: str) -> Spec:
    """What the name of an encoding means; InputError for one that means nothing."""
    match = _NAME.fullmatch(name)
    level, kind, n, normalised = match.groups() if match else (None, None, None, None)
    if kind not in KINDS:
        raise _unknown(name)
    is_counted = KINDS[kind].is_counted
    if is_counted != bool(n) or (normalised and not KINDS[kind].can_normalise):
        raise _unknown(name)
    if n and int(n) > MOST:
        raise InputError(f"the encoding {name!r} asks for {int(n):,}: at most {MOST}")
    return Spec(name, level or "atom", kind, int(n or 1), bool(normalised))


def _unknown(name: str) -> InputError:
    names = [prefix + example for prefix in ("", "bond_", "pair_") for example in _EXAMPLES]
    return InputError(
        f"unknown encoding {name!r}{did_you_mean(name, names)}: names are like "
        f"{', '.join(_EXAMPLES)}, with bond_ in front for bonds"
    )


def width_of(name: str) -> int:
    """How many numbers an atom (or bond, or pair) gets from an encoding."""
    return parse(name).width


def encode(
    name: str, n_atoms: Integer[np.ndarray, " mol"], bonds: Integer[np.ndarray, "bond 2"]
) -> Float[np.ndarray, "row width"]:
    """One encoding of molecules in float32: a row for each atom, each bond or each ordered pair.

    `bonds` names both atoms of each bond once, counted over all molecules.
    """
    return encode_all([name], n_atoms, bonds)[name]


def encode_all(
    names: Sequence[str],
    n_atoms: Integer[np.ndarray, " mol"],
    bonds: Integer[np.ndarray, "bond 2"],
) -> dict[str, Float[np.ndarray, "row width"]]:
    """Several encodings of molecules by their names; what they share is computed once.

    A molecule's numbers are the same, to the last bit, whatever stands beside it. Above a hundred
    atoms the last digit may change with the number of threads of the linear algebra library.
    """
    specs = [parse(name) for name in dict.fromkeys(names)]
    molecules = Molecules(np.asarray(n_atoms, np.int64), np.asarray(bonds, np.int64).reshape(-1, 2))
    _check_bonds(molecules)
    n_row = {
        "atom": len(molecules.mol_of_atom),
        "bond": len(molecules.bonds),
        "pair": molecules.n_pair,
    }
    encodings = {spec.name: np.empty((n_row[spec.level], spec.width), np.float32) for spec in specs}
    for part in _parts(molecules):
        natives = _natives({spec.native for spec in specs}, part.molecules)
        for spec in specs:
            rows = part.rows[spec.level]
            encodings[spec.name][rows] = _carried(spec, natives[spec.native], part.molecules)
    return encodings


def _check_bonds(molecules: Molecules) -> None:
    """Raise InputError where a bond has no two atoms of one molecule."""
    n_atom = len(molecules.mol_of_atom)
    bonds = molecules.bonds
    inside = ((bonds >= 0) & (bonds < n_atom)).all(1)
    wrong = ~inside
    ends = molecules.mol_of_atom[bonds[inside]]
    wrong[inside] = (ends[:, 0] != ends[:, 1]) | (bonds[inside, 0] == bonds[inside, 1])
    if wrong.any():
        first = int(wrong.argmax())
        raise InputError(
            f"bond {first:,} joins the atoms {bonds[first].tolist()}, which are no two of one "
            f"molecule (there are {n_atom:,} atoms in {len(molecules.n_atoms):,} molecules): give "
            "bonds as atom numbers counted over all molecules"
        )


class _Part(NamedTuple):
    """Some of the molecules by themselves, and which rows of each level are theirs."""

    molecules: Molecules
    rows: dict[str, slice | np.ndarray]


def _parts(molecules: Molecules) -> Iterator[_Part]:
    """The molecules, a limited number of pairs at a time."""
    n_pair = molecules.n_atoms**2
    number = (np.cumsum(n_pair) - n_pair) // PAIRS_AT_ONCE
    begins = np.flatnonzero(np.diff(number, prepend=-1))
    ends = [*begins[1:], len(number)]
    if len(begins) == 1:
        yield _Part(molecules, dict.fromkeys(LEVELS, slice(None)))
        return
    mol_of_bond = molecules.mol_of_atom[molecules.bonds[:, 0]]
    order = np.argsort(mol_of_bond, kind="stable")
    atom_offset = np.concatenate([[0], np.cumsum(molecules.n_atoms)])
    pair_offset = np.concatenate([[0], np.cumsum(n_pair)])
    bond_offset = np.searchsorted(mol_of_bond[order], np.arange(len(number) + 1))
    for begin, end in zip(begins, ends):
        bonds = order[bond_offset[begin] : bond_offset[end]]
        n_atoms = molecules.n_atoms[begin:end]
        yield _Part(
            molecules=Molecules(n_atoms, molecules.bonds[bonds] - atom_offset[begin]),
            rows={
                "atom": slice(atom_offset[begin], atom_offset[end]),
                "bond": bonds,
                "pair": slice(pair_offset[begin], pair_offset[end]),
            },
        )


def _natives(specs: set[Spec], molecules: Molecules) -> dict[Spec, np.ndarray]:
    """Encodings at the level that they describe by themselves."""
    n_row = {"atom": len(molecules.mol_of_atom), "pair": molecules.n_pair}
    arrays = {
        spec: np.full((n_row[spec.level], spec.width), KINDS[spec.kind].between, np.float32)
        for spec in specs
    }
    for stack in molecules.stacks():
        for spec, array in arrays.items():
            if spec.level == "atom":
                array[stack.atoms] = KINDS[spec.kind].values(stack, spec)
            else:
                _fill_pairs(array, stack, spec, molecules)
    return arrays


def _fill_pairs(array: np.ndarray, stack: Stack, spec: Spec, molecules: Molecules) -> None:
    """Write the numbers of the pairs of a stack's graphs.

    The pseudoinverse is zero between fragments, so a charge leaves -L+_jj at all atoms of others.
    """
    if spec.kind == "electrostatic" and not stack.whole.all():
        atoms = stack.atoms[~stack.whole]
        own = np.diagonal(stack.inverse, axis1=1, axis2=2)[~stack.whole]
        mol = molecules.mol_of_atom[atoms.ravel()]
        n_partner = molecules.n_atoms[mol]
        second = np.repeat(atoms.ravel(), n_partner)
        start = np.repeat(molecules.first_atom[mol] - (np.cumsum(n_partner) - n_partner), n_partner)
        first = start + np.arange(len(start))
        array[molecules.pairs(first, second), 0] = -np.repeat(own.ravel(), n_partner)
    index = molecules.pairs(stack.atoms[:, :, None], stack.atoms[:, None, :])
    array[index] = KINDS[spec.kind].values(stack, spec)


def _carried(spec: Spec, native: np.ndarray, molecules: Molecules) -> np.ndarray:
    """An encoding at the level that its name asks for."""
    kind = KINDS[spec.kind]
    if spec.level == kind.level:
        return native
    if kind.level == "atom":
        ends = molecules.bonds if spec.level == "bond" else all_pairs(molecules)
        return between_ends(native, ends)
    if spec.level == "bond":
        return pairs_to_bonds(native, molecules, kind.is_symmetric)
    known = native[:, 0] != UNREACHABLE if kind.between == UNREACHABLE else None
    return pairs_to_atoms(native, molecules, known)


# ------------------------------------------------------------------------------------ batches


def check_names(names: Sequence[str]) -> None:
    """Raise InputError for a name that means nothing, or nothing that a batch can carry."""
    for name in names:
        if parse(name).level == "pair":
            raise InputError(
                f"a batch carries encodings of atoms and bonds, not {name!r}: leave pair_ away, or "
                "make it where pairs are padded (encodings.padded.pair_encoding)"
            )


def with_encodings(batch: MolBatch, names: Sequence[str]) -> MolBatch:
    """The batch with these encodings beside its atoms and bonds; those it has stay as they are.

    They are computed on the CPU, from the bonds of the batch.
    """
    check_names(names)
    missing = [name for name in names if name not in getattr(batch, parse(name).level)]
    if not missing:
        return batch
    encodings = encode_all(missing, batch.n_atoms.cpu().numpy(), batch.bond_ends().cpu().numpy())
    for level in ("atom", "bond"):
        arrays = {
            name: torch.from_numpy(array).to(batch.device)
            for name, array in encodings.items()
            if parse(name).level == level
        }
        batch = batch.with_arrays(level, arrays)
    return batch
