r"""Differences between our two-track model and the reference, on the same weights and molecules.

    python benchmarks/agreement.py --reference Uni-Mol --core Uni-Core      84M, 8 molecules
    python benchmarks/agreement.py ... --features 1000                      integer features

How the fixtures of `tests/models/unimol2/test_official.py` were made:

    cd tests/fixtures; python ../../benchmarks/agreement.py ... --size 2,16,2,16,8,4 \
        --molecules official.smi --n 6 --atoms 1 64 --round --write official.safetensors.gz
    python ../../benchmarks/agreement.py ... --features 99 --as-drawn --molecules features.smi \
        --write features.safetensors.gz

Computed in float32, dropout off. Three modes: `pretrain` (tokens masked, coordinates displaced,
features dropped in half of the molecules), `finetune` (features on), `finetune_drop` (features
off). The weights are random and
perturbed, so that no bias, gain or gate is trivial. Allowed: 1e-5 of the largest magnitude, on real
atoms and pairs only; for a gradient 1e-5 of its own largest entry, or of 1e-4 of the model's
largest where that is more. Printed is each difference as a share of what is allowed.

Some gradients are sums that nearly cancel, and float32 does not give them to that tolerance on
either side. The reference shows which: its own gradients change when only the atoms of its
molecules are renumbered, which changes nothing but rounding. Where a difference is more than
allowed, but no more than twice what renumbering changes, it is listed apart and not held against
us. `*.linear_bias.bias` shifts all logits of a softmax alike: its true gradient is zero, both sides
show rounding alone, and it is listed apart too, in parts of the model's largest gradient.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import rdkit
import reference
import torch
from rdkit import Chem, RDConfig
from safetensors.torch import save
from torch import Tensor

from molnb.chemistry.conformer import make_conformer
from molnb.chemistry.failures import MoleculeError
from molnb.chemistry.features import molecule_arrays
from molnb.chemistry.parsing import parse_smiles
from molnb.chemistry.standardization import standardize
from molnb.data.masked import MaskedBatch
from molnb.errors import InputError
from molnb.inference.featurizer import FeaturizedMolecule, flat_batch
from molnb.models.unimol2 import official
from molnb.models.unimol2.sizes import PAPER
from molnb.objectives.geometry import centred
from molnb.objectives.pretraining import Pretrain

NCI = Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi"
TOLERANCE = 1e-5
# a gradient this much smaller than the model's largest counts as round-off of that one
SHARE_OF_LARGEST = 1e-4
MODES = ("pretrain", "finetune", "finetune_drop")
DEAD = "linear_bias.bias"
WIDTHS = (
    "encoder_layers",
    "encoder_embed_dim",
    "encoder_attention_heads",
    "encoder_ffn_embed_dim",
    "pair_embed_dim",
    "pair_hidden_dim",
)
SIZES = {
    name: (c.n_layer, c.d_atom, c.n_head, c.d_ffn, c.d_pair, c.d_hidden)
    for name, c in PAPER.items()
}
SIZES["small"] = (6, 256, 16, 256, 128, 32)


class Difference(NamedTuple):
    """Largest difference of a tensor from the reference's, the latter's size, and what is allowed.

    `rounding` is how far the reference is from itself when atoms are renumbered.
    """

    name: str
    largest: float
    difference: float
    allowed: float
    rounding: float = 0.0

    @property
    def share(self) -> float:
        return self.difference / self.allowed if self.allowed else float(self.difference > 0)

    @property
    def undetermined(self) -> bool:
        """More than allowed, but no more than the reference's own rounding explains."""
        return self.allowed < self.difference <= 2 * self.rounding


def read_size(text: str) -> dict[str, int]:
    """The reference's arguments for a size, given by its name or by six numbers (see `WIDTHS`)."""
    numbers = SIZES.get(text.lower())
    if numbers is None:
        numbers = [int(number) for number in text.split(",") if number.strip().isdigit()]
    if len(numbers) != len(WIDTHS):
        raise InputError(
            f"size {text!r} is neither one of {', '.join(SIZES)} nor six whole numbers: "
            f"{', '.join(WIDTHS)}"
        )
    return dict(zip(WIDTHS, numbers))


def read_smiles(file: Path, n: int, n_heavy: tuple[int, int]) -> list[str]:
    """Canonical SMILES of the first n readable molecules of an SMI file in a range of sizes."""
    smallest, largest = n_heavy
    fitting = (
        smiles for smiles in drawn(file) if smallest <= _count_heavy_atoms(smiles) <= largest
    )
    molecules = list(itertools.islice(fitting, n))
    if not molecules:
        raise InputError(
            f"{file} has no molecule of {smallest} to {largest} heavy atoms: widen --atoms"
        )
    return molecules


def _count_heavy_atoms(smiles: str) -> int:
    return Chem.MolFromSmiles(smiles).GetNumHeavyAtoms()


def featurize(smiles: str) -> FeaturizedMolecule:
    """A molecule as drawn, salts and charges included, with one conformer, fragments 8 Å apart."""
    arrays = molecule_arrays(smiles)
    n = arrays["n_heavy"]
    fragments = enumerate(smiles.split("."))
    coords = [_coordinates(fragment) + [8.0 * number, 0, 0] for number, fragment in fragments]
    coords = np.concatenate(coords).astype(np.float32)
    return FeaturizedMolecule(smiles, np.arange(n), n, arrays, coords)


def _coordinates(smiles: str) -> np.ndarray:
    n = _count_heavy_atoms(smiles)
    if n == 1:
        return np.zeros((1, 3))
    return np.asarray(make_conformer(smiles).coords[:n], np.float64)


def ask(smiles: list[str], mode: str, seed: int) -> MaskedBatch:
    """The molecules as one batch, with what the mode withholds."""
    batch = flat_batch([featurize(molecule) for molecule in smiles], hydrogens=False)
    if mode == "pretrain":
        return Pretrain().corrupt(batch, seed, 0)
    hidden = torch.zeros(len(batch.numbers), dtype=torch.bool)
    visible = torch.full((batch.n_mol,), mode == "finetune")
    return MaskedBatch(batch, hidden, centred(batch), visible, {})


def compare(pairs: dict[str, tuple[Tensor, Tensor]], floor: float = 0.0) -> list[Difference]:
    """Differences of named pairs of tensors, molnb's and the reference's.

    Allowed is a share of the reference's largest magnitude, or of `floor` where that is more.
    """
    differences = []
    for name, (ours, authors) in pairs.items():
        largest = 0.0
        difference = 0.0
        if authors.numel():
            largest = float(authors.abs().max())
            difference = float((ours - authors).abs().max())
        differences.append(Difference(name, largest, difference, TOLERANCE * max(largest, floor)))
    return differences


def real_only(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs without padding, which holds garbage on both sides."""
    real = batch["atom_mask"].bool()
    nodes = torch.cat([torch.ones_like(real[:, :1]), real], 1)
    masks = {
        "x0": nodes,
        "x": nodes,
        "pair": nodes[:, :, None] & nodes[:, None],
        "coord": real,
        "dist": real[:, :, None] & real[:, None],
    }
    if "target_token" not in batch:  # else logits are those of masked atoms only
        masks["logits"] = real
    return {
        name: (value[masks[name]] if name in masks else value).detach()
        for name, value in outputs.items()
    }


class Comparison(NamedTuple):
    """Differences of one batch; `authors` are the reference's outputs and losses, still padded."""

    batch: dict[str, Tensor]
    authors: dict[str, Tensor]
    outputs: list[Difference]
    losses: list[Difference]
    gradients: list[Difference]
    dead: dict[str, tuple[float, float]]  # our and the reference's share of the largest gradient
    authors_gradients: dict[str, Tensor]


def run_both(
    classes: reference.Reference, their_model, our_model, masked: MaskedBatch, mode: str
) -> Comparison:
    """One batch through both models; gradients of the summed loss where the mode has targets."""
    batch = reference.make_batch(masked, targets=mode == "pretrain")
    our_batch = official.make_reference_batch(batch)
    with torch.no_grad():
        their_outputs = reference.reference_outputs(their_model, batch)
        our_outputs = official.reference_outputs(our_model, our_batch)
    outputs = compare(_paired(real_only(our_outputs, batch), real_only(their_outputs, batch)))
    if mode != "pretrain":
        return Comparison(batch, their_outputs, outputs, [], [], {}, {})
    their_model.zero_grad(set_to_none=True)
    their_losses = reference.reference_losses(classes, their_model, batch)
    their_losses["loss"].backward()
    their_losses = {name: loss.detach() for name, loss in their_losses.items()}
    our_losses = official.reference_losses(our_model, our_batch)
    our_losses = {name: our_losses[name].detach() for name in reference.LOSSES}
    their_gradients = _take_gradients(their_model)
    reference.reference_losses(classes, their_model, renumber(batch))["loss"].backward()
    renumbered = _take_gradients(their_model)
    our_gradients = official.reference_gradients(our_model, our_batch)
    return Comparison(
        batch,
        their_outputs | {f"loss.{name}": loss for name, loss in their_losses.items()},
        outputs,
        compare(_paired(our_losses, {name: their_losses[name] for name in reference.LOSSES})),
        compare_gradients(our_gradients, their_gradients, renumbered),
        largest_dead(our_gradients, their_gradients),
        their_gradients,
    )


def _paired(
    ours: dict[str, Tensor], authors: dict[str, Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: (ours[name], value) for name, value in authors.items()}


def _take_gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    """The model's gradients by parameter; afterwards it has none."""
    parameters = model.named_parameters()
    gradients = {name: p.grad for name, p in parameters if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return gradients


def renumber(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same molecules, atoms in the opposite order: answers stay, every rounding changes."""
    real = batch["atom_mask"].bool()
    mol = torch.arange(len(real))[:, None]
    positions = torch.arange(real.shape[1])
    order = torch.where(real, real.sum(1, keepdim=True) - 1 - positions, positions)
    renumbered = {}
    for name, values in batch.items():
        if name == "attn_bias":  # of padding, which stays where it is
            renumbered[name] = values
        elif name in reference.ON_PAIRS:
            renumbered[name] = values[mol[..., None], order[:, :, None], order[:, None]]
        else:
            renumbered[name] = values[mol, order]
    return renumbered


def compare_gradients(
    ours: dict[str, Tensor], authors: dict[str, Tensor], renumbered: dict[str, Tensor]
) -> list[Difference]:
    """Differences of all gradients but the dead ones, with the reference's own rounding."""
    if set(ours) != set(authors):
        names = ", ".join(sorted(set(ours) ^ set(authors)))
        raise InputError(f"gradients on one side only: {names}")
    live = {name: gradient for name, gradient in authors.items() if not name.endswith(DEAD)}
    differences = []
    for difference in compare(_paired(ours, live), SHARE_OF_LARGEST * _largest(authors)):
        change = (authors[difference.name] - renumbered[difference.name]).abs().max()
        differences.append(difference._replace(rounding=float(change)))
    return differences


def largest_dead(
    ours: dict[str, Tensor], authors: dict[str, Tensor]
) -> dict[str, tuple[float, float]]:
    """Largest entries of gradients that are truly zero, in parts of the model's largest."""
    largest = _largest(authors)
    return {
        name: (float(ours[name].abs().max()) / largest, float(gradient.abs().max()) / largest)
        for name, gradient in authors.items()
        if name.endswith(DEAD)
    }


def _largest(gradients: dict[str, Tensor]) -> float:
    return max(float(gradient.abs().max()) for gradient in gradients.values())


def show(mode: str, comparison: Comparison, n_worst: int = 8) -> float:
    """Print one mode; returns the largest share of what is allowed."""
    n_mol, n = comparison.batch["atom_mask"].shape
    print(f"\n{mode}: {n_mol} molecules, padded to {n} + 1 nodes")
    print(f"  {'':<52}{'largest':>11}{'difference':>12}{'of allowed':>11}")
    by_share = sorted(comparison.gradients, key=lambda difference: -difference.share)
    undetermined = [difference for difference in by_share if difference.undetermined]
    decided = [difference for difference in by_share if not difference.undetermined]
    for difference in (*comparison.outputs, *comparison.losses, *decided[:n_worst]):
        print(_line(difference))
    if decided:
        print(f"  ({len(decided)} gradients; the {n_worst} worst are shown)")
        our_largest, their_largest = (max(shares) for shares in zip(*comparison.dead.values()))
        print(
            f"  {len(comparison.dead)} gradients that are zero but for rounding, in parts of the "
            f"largest gradient: ours up to {our_largest:.1e}, "
            f"the reference's up to {their_largest:.1e}"
        )
    if undetermined:
        print(
            f"  {len(undetermined)} gradients that the reference itself does not give to the "
            "tolerance:"
        )
    for difference in undetermined:
        rounding = difference.rounding / difference.allowed
        print(f"{_line(difference)}  (the reference from itself, atoms renumbered: {rounding:.1%})")
    return max(
        difference.share for difference in (*comparison.outputs, *comparison.losses, *decided)
    )


def _line(difference: Difference) -> str:
    return (
        f"  {difference.name:<52}{difference.largest:>11.3g}"
        f"{difference.difference:>12.2e}{difference.share:>10.1%}"
    )


def agree(args: argparse.Namespace) -> float:
    """Run and print all modes, write the fixture if asked; returns the largest share."""
    config = read_size(args.size)
    smiles = read_smiles(args.molecules, args.n, tuple(args.atoms))
    classes = reference.load(args.reference, args.core)
    their_model = reference.make_model(classes, config, args.seed, args.perturb, head=3).eval()
    if args.round:
        with torch.no_grad():
            for parameter in their_model.parameters():
                parameter.copy_(parameter.bfloat16().float())
    weights = their_model.state_dict()
    our_model = official.load_reference(weights, config)
    print(f"{config}, torch {torch.__version__}\n" + "\n".join(smiles))
    stored = {}
    worst = 0.0
    for mode in MODES:
        masked = ask(smiles, mode, args.seed)
        comparison = run_both(classes, their_model, our_model, masked, mode)
        worst = max(worst, show(mode, comparison))
        if args.write:
            stored |= stored_mode(mode, comparison)
    if args.write:
        parameters = dict(their_model.named_parameters())
        for name, value in weights.items():
            narrow = args.round and name in parameters
            stored[f"weights.{name}"] = value.bfloat16() if narrow else value
        write(stored, smiles, args.write, config=json.dumps(config))
    print(f"\nlargest difference: {worst:.1%} of what is allowed")
    return worst


def stored_mode(mode: str, comparison: Comparison) -> dict[str, Tensor]:
    """A mode's arrays, the reference's outputs, losses and gradients, as the fixture keeps them."""
    stored = {}
    for name, value in comparison.batch.items():
        narrow = value.dtype == torch.int64
        stored[f"{mode}.batch.{name}"] = value.to(torch.int16) if narrow else value
    for name, value in comparison.authors.items():
        part = name if name.startswith("loss.") else f"out.{name}"
        stored[f"{mode}.{part}"] = value
    for name, gradient in comparison.authors_gradients.items():
        stored[f"{mode}.grad.{name}"] = gradient
    return stored


def compare_features(args: argparse.Namespace) -> int:
    """Print which of n molecules differ from the reference in integer features; returns how many.

    A molecule counts once with its features and once with its features dropped.
    """
    graphs, dataset = reference.load_features(args.reference, args.core)
    source = drawn(args.molecules) if args.as_drawn else standardised(args.molecules)
    smiles = list(itertools.islice(source, args.features))
    arrays: dict[str, list[Tensor]] = {}
    different = []
    for molecule, dropped in itertools.product(smiles, (False, True)):
        mode = "dropped" if dropped else "on"
        mol = Chem.RemoveAllHs(Chem.AddHs(Chem.MolFromSmiles(molecule)))
        x, index, attributes = graphs.get_graph(mol)
        authors = dataset.get_graph_features(attributes, index, x, dropped)
        ours = our_features(molecule, visible=not dropped)
        names = [name for name in ours if not np.array_equal(ours[name], authors[name].numpy())]
        if names:
            different.append(f"  {molecule} ({mode}): {', '.join(names)}")
        for name in ours:
            arrays.setdefault(f"{mode}.{name}", []).append(authors[name].reshape(-1).short())
    print(f"{len(smiles)} molecules, features on and dropped: {len(different)} differ")
    print("\n".join(different[:20]), end="\n" if different else "")
    if args.write:
        joined = {name: torch.cat(values) for name, values in arrays.items()}
        write(joined, smiles, args.write)
    return len(different)


def our_features(smiles: str, visible: bool) -> dict[str, np.ndarray]:
    """molnb's integers of a molecule's heavy atoms, as rows of the reference's tables."""
    arrays = molecule_arrays(smiles)
    n_heavy = arrays["n_heavy"]
    n_bond = arrays["n_heavy_bonds"]
    return reference.feature_arrays(
        arrays["numbers"][:n_heavy],
        arrays["atom_feats"][:n_heavy],
        arrays["bonds"][:n_bond],
        arrays["bond_feats"][:n_bond],
        visible,
    )


def standardised(file: Path) -> Iterator[str]:
    """Canonical SMILES of a file's molecules after standardisation; what fails is left out."""
    for line in file.read_text().splitlines():
        try:
            yield standardize(parse_smiles(line.split()[0])).smiles
        except (MoleculeError, IndexError):
            continue


def drawn(file: Path) -> Iterator[str]:
    """Canonical SMILES of a file's molecules as drawn, with salts; unreadable ones are left out."""
    for line in file.read_text().splitlines():
        mol = Chem.MolFromSmiles(line.split()[0]) if line.strip() else None
        if mol is not None and mol.GetNumAtoms():
            yield Chem.MolToSmiles(mol)


def write(tensors: dict[str, Tensor], smiles: list[str], file: Path, **metadata: str) -> None:
    """A safetensors file with SMILES and versions in its metadata; gzipped if its name says so."""
    metadata |= {
        "smiles": json.dumps(smiles),
        "torch": torch.__version__,
        "rdkit": rdkit.__version__,
    }
    content = save({name: t.detach().contiguous() for name, t in tensors.items()}, metadata)
    file.write_bytes(gzip.compress(content, 9, mtime=0) if file.suffix == ".gz" else content)
    print(f"{file}: {file.stat().st_size / 1e3:.0f} kB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reference.add_arguments(parser)
    parser.add_argument(
        "--size", default="84m", help=f"{', '.join(SIZES)}, or six numbers: {', '.join(WIDTHS)}"
    )
    parser.add_argument(
        "--molecules", type=Path, default=NCI, metavar="SMI", help="default: nci, as RDKit ships it"
    )
    parser.add_argument("--n", type=int, default=8, help="molecules taken from the file")
    parser.add_argument(
        "--atoms", type=int, nargs=2, default=(20, 28), metavar="N", help="heavy atoms, from and to"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--perturb",
        type=float,
        default=0.2,
        help="how far weights are moved off their initial values",
    )
    parser.add_argument(
        "--round", action="store_true", help="weights in 16 bits, so that they fit a small fixture"
    )
    parser.add_argument(
        "--write",
        type=Path,
        metavar="FILE",
        help="store all as a fixture: .safetensors, or .safetensors.gz",
    )
    parser.add_argument(
        "--as-drawn", action="store_true", help="with --features: not standardised, salts stay"
    )
    parser.add_argument(
        "--features", type=int, metavar="N", help="compare integer features of N molecules instead"
    )
    args = parser.parse_args()
    try:
        return int(compare_features(args) > 0) if args.features else int(agree(args) > 1)
    except InputError as error:
        print(f"agreement: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
