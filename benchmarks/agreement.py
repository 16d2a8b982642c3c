r"""Does our two-track model give the reference's numbers? Both sides on the same molecules, in
float32, dropout off.

    python benchmarks/agreement.py --reference Uni-Mol --core Uni-Core                         84M, 8 molecules
    python benchmarks/agreement.py ... --features 1000                                         integer features

How the fixtures of `tests/models/unimol2/test_official.py` were made:

    cd tests/fixtures; python ../../benchmarks/agreement.py ... --size 2,16,2,16,8,4 --molecules official.smi --n 6 \
        --atoms 1 64 --round --write official.safetensors.gz
    python ../../benchmarks/agreement.py ... --features 99 --as-drawn --molecules features.smi \
        --write features.safetensors.gz

Three modes: `pretrain` (tokens masked, coordinates displaced, features dropped in half of the
molecules), `finetune` (features on), `finetune_drop` (features off). The weights are random and
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
import reference as theirs
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
from molnb.models.unimol2 import official as ours
from molnb.models.unimol2.sizes import PAPER
from molnb.objectives.geometry import centred
from molnb.objectives.pretraining import Pretrain

NCI = Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi"
TOLERANCE = 1e-5
SHARE_OF_LARGEST = (
    1e-4  # a gradient this much smaller than the model's largest counts as round-off of that one
)
MODES = ("pretrain", "finetune", "finetune_drop")
DEAD = "linear_bias.bias"
WIDTHS = (
    "encoder_layers", "encoder_embed_dim", "encoder_attention_heads", "encoder_ffn_embed_dim", "pair_embed_dim",
    "pair_hidden_dim",
)  # fmt: skip
SIZES = {
    name: (c.n_layer, c.d_atom, c.n_head, c.d_ffn, c.d_pair, c.d_hidden)
    for name, c in PAPER.items()
}
SIZES["small"] = (6, 256, 16, 256, 128, 32)


class Difference(NamedTuple):
    """Largest difference between two tensors, the reference's largest magnitude, and what is
    allowed.

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
    """A size by its name, or its six numbers: layers, width, heads, feed-forward, pair width,
    pair hidden width.
    """
    numbers = SIZES.get(text.lower()) or tuple(
        int(x) for x in text.split(",") if x.strip().isdigit()
    )
    if len(numbers) != len(WIDTHS):
        raise InputError(
            f"size {text!r} is neither one of {', '.join(SIZES)} nor six whole numbers: {', '.join(WIDTHS)}"
        )
    return dict(zip(WIDTHS, numbers))


def read_smiles(file: Path, n: int, n_heavy: tuple[int, int]) -> list[str]:
    """The first n readable molecules of an SMI file within a range of sizes, as canonical
    SMILES.
    """
    sizes = ((smiles, Chem.MolFromSmiles(smiles).GetNumHeavyAtoms()) for smiles in drawn(file))
    found = list(
        itertools.islice((smiles for smiles, size in sizes if n_heavy[0] <= size <= n_heavy[1]), n)
    )
    if not found:
        raise InputError(
            f"{file} has no molecule of {n_heavy[0]} to {n_heavy[1]} heavy atoms: widen --atoms"
        )
    return found


def featurize(smiles: str) -> FeaturizedMolecule:
    """A molecule as it is drawn, salts and charges kept, with one conformer; fragments stand 8 Å
    apart.
    """
    arrays = molecule_arrays(smiles)
    coords = [_coordinates(part) + [8.0 * k, 0, 0] for k, part in enumerate(smiles.split("."))]
    n = arrays["n_heavy"]
    return FeaturizedMolecule(
        smiles, np.arange(n), n, arrays, np.concatenate(coords).astype(np.float32)
    )


def _coordinates(smiles: str) -> np.ndarray:
    n = Chem.MolFromSmiles(smiles).GetNumHeavyAtoms()
    return np.zeros((1, 3)) if n == 1 else np.asarray(make_conformer(smiles).coords[:n], np.float64)


def ask(smiles: list[str], mode: str, seed: int) -> MaskedBatch:
    """The molecules as one batch, with what the mode withholds."""
    batch = flat_batch([featurize(s) for s in smiles], hydrogens=False)
    if mode == "pretrain":
        return Pretrain().ask(batch, seed, 0)
    visible = torch.full((batch.n_mol,), mode == "finetune")
    return MaskedBatch(
        batch, torch.zeros(len(batch.numbers), dtype=torch.bool), centred(batch), visible, {}
    )


def compare(
    names_and_tensors: dict[str, tuple[Tensor, Tensor]], floor: float = 0.0
) -> list[Difference]:
    """Differences of (ours, theirs), each relative to its own largest magnitude but at least to
    `floor`.
    """
    found = []
    for name, (mine, given) in names_and_tensors.items():
        largest = float(given.abs().max()) if given.numel() else 0.0
        difference = float((mine - given).abs().max()) if given.numel() else 0.0
        found.append(Difference(name, largest, difference, TOLERANCE * max(largest, floor)))
    return found


def real_only(outputs: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Outputs without padding, which holds garbage on both sides."""
    real = batch["atom_mask"].bool()
    nodes = torch.cat([torch.ones_like(real[:, :1]), real], 1)
    select = {"x0": nodes, "x": nodes, "pair": nodes[:, :, None] & nodes[:, None], "coord": real}
    select |= {"dist": real[:, :, None] & real[:, None]} | (
        {} if "target_token" in batch else {"logits": real}
    )
    return {k: (v[select[k]] if k in select else v).detach() for k, v in outputs.items()}


class Both(NamedTuple):
    """What both sides say about one batch; `given` is the reference's side as it came, padded."""

    batch: dict[str, Tensor]
    given: dict[str, Tensor]
    outputs: list[Difference]
    losses: list[Difference]
    gradients: list[Difference]
    dead: dict[str, tuple[float, float]]
    gradient: dict[str, Tensor]


def run_both(reference, their_model, our_model, question: MaskedBatch, mode: str) -> Both:
    """One batch through both models; gradients of the summed loss where the mode has targets."""
    batch = theirs.make_batch(question, targets=mode == "pretrain")
    mine = ours.make_reference_batch(batch)
    with torch.no_grad():
        given, our_outputs = (
            theirs.reference_outputs(their_model, batch),
            ours.reference_outputs(our_model, mine),
        )
    left, right = real_only(our_outputs, batch), real_only(given, batch)
    outputs = compare({k: (left[k], right[k]) for k in right})
    if mode != "pretrain":
        return Both(batch, given, outputs, [], [], {}, {})
    their_model.zero_grad(set_to_none=True)
    their_losses = theirs.reference_losses(reference, their_model, batch)
    their_losses["loss"].backward()
    their_losses = {k: v.detach() for k, v in their_losses.items()}
    our_losses = ours.reference_losses(our_model, mine)
    losses = compare({k: (our_losses[k].detach(), their_losses[k]) for k in theirs.LOSSES})
    gradient = _their_gradients(their_model)
    theirs.reference_losses(reference, their_model, renumber(batch))["loss"].backward()
    again = _their_gradients(their_model)
    given |= {f"loss.{k}": v for k, v in their_losses.items()}
    return Both(
        batch,
        given,
        outputs,
        losses,
        *_gradients(ours.reference_gradients(our_model, mine), gradient, again),
    )


def _their_gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    found = {k: p.grad for k, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def renumber(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same molecules with their atoms in the opposite order: every answer stays, every
    rounding changes.
    """
    real = batch["atom_mask"].bool()
    mol, place = torch.arange(len(real))[:, None], torch.arange(real.shape[1])
    order = torch.where(real, real.sum(1, keepdim=True) - 1 - place, place)
    pairs = {
        k: batch[k][mol[..., None], order[:, :, None], order[:, None]] for k in theirs.ON_PAIRS
    }
    rest = {k: v[mol, order] for k, v in batch.items() if k not in (*theirs.ON_PAIRS, "attn_bias")}
    return pairs | rest | {"attn_bias": batch["attn_bias"]}


def _gradients(mine: dict[str, Tensor], given: dict[str, Tensor], again: dict[str, Tensor]):
    """Differences of live gradients, largest entries of dead ones as shares of the model's
    largest, theirs.
    """
    if set(mine) != set(given):
        raise InputError(f"gradients on one side only: {', '.join(sorted(set(mine) ^ set(given)))}")
    largest = max(float(g.abs().max()) for g in given.values())
    live = {k: (mine[k], g) for k, g in given.items() if not k.endswith(DEAD)}
    found = compare(live, SHARE_OF_LARGEST * largest)
    found = [d._replace(rounding=float((given[d.name] - again[d.name]).abs().max())) for d in found]
    dead = {
        k: (float(mine[k].abs().max()) / largest, float(g.abs().max()) / largest)
        for k, g in given.items()
        if k.endswith(DEAD)
    }
    return found, dead, given


def show(mode: str, both: Both, n_worst: int = 8) -> float:
    """Print one mode; returns the largest share of what is allowed."""
    print(
        f"\n{mode}: {len(both.batch['atom_mask'])} molecules, padded to {both.batch['atom_mask'].shape[1]} + 1 nodes"
    )
    print(f"  {'':<52}{'largest':>11}{'difference':>12}{'of allowed':>11}")
    undetermined = [d for d in both.gradients if d.undetermined]
    decided = sorted((d for d in both.gradients if not d.undetermined), key=lambda d: -d.share)
    for found in (*both.outputs, *both.losses, *decided[:n_worst]):
        print(_line(found))
    if decided:
        print(f"  ({len(decided)} gradients; the {n_worst} worst are shown)")
        mine, given = (max(side) for side in zip(*both.dead.values()))
        print(
            f"  {len(both.dead)} gradients that are zero but for rounding, in parts of the largest gradient: "
            f"ours up to {mine:.1e}, the reference's up to {given:.1e}"
        )
    if undetermined:
        print(
            f"  {len(undetermined)} gradients that the reference itself does not give to the tolerance:"
        )
    for found in sorted(undetermined, key=lambda d: -d.share):
        print(
            f"{_line(found)}  (the reference from itself, atoms renumbered: {found.rounding / found.allowed:.1%})"
        )
    return max(found.share for found in (*both.outputs, *both.losses, *decided))


def _line(found: Difference) -> str:
    return f"  {found.name:<52}{found.largest:>11.3g}{found.difference:>12.2e}{found.share:>10.1%}"


def agree(args: argparse.Namespace) -> float:
    """Run all modes, print them, write the fixture if asked; returns the largest share of what
    is allowed.
    """
    config = read_size(args.size)
    smiles = read_smiles(args.molecules, args.n, tuple(args.atoms))
    reference = theirs.load(args.reference, args.core)
    their_model = theirs.make_model(reference, config, args.seed, args.perturb, head=3).eval()
    if args.round:
        with torch.no_grad():
            for parameter in their_model.parameters():
                parameter.copy_(parameter.bfloat16().float())
    weights = their_model.state_dict()
    our_model = ours.load_reference(weights, config)
    print(f"{config}, torch {torch.__version__}\n" + "\n".join(smiles))
    stored, worst = {}, 0.0
    for mode in MODES:
        both = run_both(reference, their_model, our_model, ask(smiles, mode, args.seed), mode)
        worst = max(worst, show(mode, both))
        stored |= stored_mode(mode, both) if args.write else {}
    if args.write:
        parameters = dict(their_model.named_parameters())
        half = {
            k: v.bfloat16() if args.round and k in parameters else v for k, v in weights.items()
        }
        write(
            stored | {f"weights.{k}": v for k, v in half.items()},
            smiles,
            args.write,
            config=json.dumps(config),
        )
    print(f"\nlargest difference: {worst:.1%} of what is allowed")
    return worst


def stored_mode(mode: str, both: Both) -> dict[str, Tensor]:
    """A mode's arrays, the reference's outputs, losses and gradients, as the fixture keeps them."""
    integers = {
        k: v.to(torch.int16) if v.dtype == torch.int64 else v for k, v in both.batch.items()
    }
    found = {f"{mode}.batch.{k}": v for k, v in integers.items()}
    for name, value in both.given.items():
        found[f"{mode}.{name}" if name.startswith("loss.") else f"{mode}.out.{name}"] = value
    return found | {f"{mode}.grad.{k}": v for k, v in both.gradient.items()}


def compare_features(args: argparse.Namespace) -> int:
    """Print how many of n molecules have the reference's own integer features; returns the
    number of the others.
    """
    graphs, dataset = theirs.load_features(args.reference, args.core)
    source = drawn(args.molecules) if args.as_drawn else standardised(args.molecules)
    smiles = list(itertools.islice(source, args.features))
    kept: dict[str, list[Tensor]] = {}
    wrong = []
    for text, dropped in itertools.product(smiles, (False, True)):
        x, index, attributes = graphs.get_graph(
            Chem.RemoveAllHs(Chem.AddHs(Chem.MolFromSmiles(text)))
        )
        given = dataset.get_graph_features(attributes, index, x, dropped)
        mine = our_features(text, visible=not dropped)
        differ = [k for k, v in mine.items() if not np.array_equal(v, given[k].numpy())]
        wrong += [(text, dropped, differ)] if differ else []
        for name in mine:
            kept.setdefault(f"{'dropped' if dropped else 'on'}.{name}", []).append(given[name])
    print(f"{len(smiles)} molecules, features on and dropped: {len(wrong)} differ")
    for text, dropped, names in wrong[:20]:
        print(f"  {text} ({'dropped' if dropped else 'on'}): {', '.join(names)}")
    if args.write:
        write(
            {k: torch.cat([v.reshape(-1).short() for v in values]) for k, values in kept.items()},
            smiles,
            args.write,
        )
    return len(wrong)


def our_features(smiles: str, visible: bool) -> dict[str, np.ndarray]:
    """molnb's integers of the heavy atoms of a canonical SMILES, as rows of the reference's
    tables.
    """
    arrays = molecule_arrays(smiles)
    h, b = arrays["n_heavy"], arrays["n_heavy_bonds"]
    parts = (
        arrays["numbers"][:h],
        arrays["atom_feats"][:h],
        arrays["bonds"][:b],
        arrays["bond_feats"][:b],
    )
    return theirs.feature_arrays(*parts, visible)


def standardised(file: Path) -> Iterator[str]:
    """Canonical SMILES of a file's molecules after standardisation, in its order; what fails is
    left out.
    """
    for line in file.read_text().splitlines():
        try:
            yield standardize(parse_smiles(line.split()[0])).smiles
        except (MoleculeError, IndexError):
            continue


def drawn(file: Path) -> Iterator[str]:
    """Canonical SMILES of a file's molecules as they are, salts and charges kept; what cannot be
    read is left out.
    """
    for line in file.read_text().splitlines():
        mol = Chem.MolFromSmiles(line.split()[0]) if line.strip() else None
        if mol is not None and mol.GetNumAtoms():
            yield Chem.MolToSmiles(mol)


def write(tensors: dict[str, Tensor], smiles: list[str], file: Path, **about: str) -> None:
    """A safetensors file, packed where its name ends in .gz; its metadata name the molecules and
    the versions.
    """
    about |= {"smiles": json.dumps(smiles), "torch": torch.__version__, "rdkit": rdkit.__version__}
    content = save({k: v.detach().contiguous() for k, v in tensors.items()}, about)
    file.write_bytes(gzip.compress(content, 9, mtime=0) if file.suffix == ".gz" else content)
    print(f"{file}: {file.stat().st_size / 1e3:.0f} kB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    theirs.add_arguments(parser)
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
        help="keep all as a fixture: .safetensors, or .safetensors.gz",
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
