"""The authors' own Uni-Mol2, unmodified, beside ours: its model, its loss, its padded arrays.

Two checkouts are needed, given by path, and nothing of them is kept here:

    git clone https://github.com/deepmodeling/Uni-Mol        --reference Uni-Mol (the folder that holds `unimol2`)
    git clone https://github.com/dptech-corp/Uni-Core        --core Uni-Core (the folder that holds `unicore`)

Its packages import everything they have (LMDB, tokenizers, fused kernels) when they are imported.
Here only the modules that are asked for are: an empty package of the same name stands in for each
`__init__`. The model and the loss then need torch and tqdm; its feature code needs numba and scipy
too.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from molnb.data.batch import MolBatch
from molnb.data.encodings import shortest_paths
from molnb.data.masked import MaskedBatch, spread
from molnb.errors import InputError
from molnb.objectives.geometry import centred

ON_PAIRS = ("edge_feat", "shortest_path", "pair_type")
LOSSES = ("masked_token_loss", "masked_coord_loss", "masked_dist_loss", "loss")


class Reference(NamedTuple):
    """Two classes of the reference: the encoder with its heads, and its pretraining loss."""

    model: type[nn.Module]
    loss: type[nn.Module]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--reference` and `--core`: where the two checkouts are."""
    parser.add_argument(
        "--reference", required=True, type=Path, metavar="UNI_MOL", help="checkout of Uni-Mol"
    )
    parser.add_argument(
        "--core", required=True, type=Path, metavar="UNI_CORE", help="checkout of Uni-Core"
    )


def load(uni_mol: str | Path, uni_core: str | Path) -> Reference:
    """The reference's classes from checkouts of Uni-Mol and Uni-Core; one pair of checkouts a
    process.
    """
    make_packages(
        package_folder(uni_mol, "unimol2", "Uni-Mol"),
        package_folder(uni_core, "unicore", "Uni-Core"),
    )
    # it prints a line for each fused kernel that is not installed
    with contextlib.redirect_stdout(io.StringIO()):
        sys.modules["unicore"].metrics = importlib.import_module("unicore.logging.metrics")
        model = importlib.import_module("unimol2.models.unimol2")
        loss = importlib.import_module("unimol2.losses.unimol2")
    return Reference(model.UniMol2Model, loss.UniMol2Loss)


def load_features(uni_mol: str | Path, uni_core: str | Path) -> tuple[ModuleType, ModuleType]:
    """The reference's modules that make its integer features: `molecule_dataset` and
    `unimol2_dataset`.
    """
    load(uni_mol, uni_core)
    data = sys.modules["unicore.data"]
    try:
        data.UnicoreDataset = importlib.import_module("unicore.data.unicore_dataset").UnicoreDataset
        data.BaseWrapperDataset = importlib.import_module(
            "unicore.data.base_wrapper_dataset"
        ).BaseWrapperDataset
        names = ("unimol2.data.molecule_dataset", "unimol2.data.unimol2_dataset")
        return tuple(importlib.import_module(name) for name in names)
    except ModuleNotFoundError as error:
        raise InputError(
            f"the reference's feature code needs {error.name}: pip install {error.name}"
        ) from None


def package_folder(checkout: str | Path, package: str, name: str) -> Path:
    """The folder of a Python package in a checkout, which may also be given one level deeper
    (Uni-Mol/unimol2).
    """
    marker = {"unimol2": "models/unimol2.py", "unicore": "models/unicore_model.py"}[package]
    for folder in (Path(checkout) / package / package, Path(checkout) / package, Path(checkout)):
        if (folder / marker).is_file():
            return folder.resolve()
    raise InputError(
        f"{checkout} is no checkout of {name}: it has no {package}/{marker}; give the folder git cloned into"
    )


def make_packages(unimol2: Path, unicore: Path) -> None:
    """Empty packages that only say where their modules lie."""
    folders = {"unicore": unicore, "unicore.data": unicore / "data", "unimol2": unimol2}
    folders |= {f"unimol2.{part}": unimol2 / part for part in ("data", "losses", "models")}
    for name, folder in folders.items():
        present = sys.modules.get(name)
        if present is not None:
            if list(present.__path__) != [str(folder)]:
                raise InputError(
                    f"{name} was already imported from {list(present.__path__)}: start a new process"
                )
            continue
        sys.modules[name] = package = ModuleType(name)
        package.__path__ = [str(folder)]
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], leaf, package)


def make_model(
    reference: Reference, config: dict, seed: int = 0, perturb: float = 0.0, head: int = 0
) -> nn.Module:
    """The reference's model in training mode, for a configuration in its own names
    (`encoder_layers`, ...).

    `perturb` moves every parameter off its initial value, so that no bias, gain or gate is trivial:
    vectors and tables by N(0, perturb²), matrices by N(0, perturb²/columns), which keeps
    activations of any width alike. Rows of padding stay zero. With `head` it gets a fine-tuning
    head of that many classes, named "head".
    """
    losses = dict.fromkeys(LOSSES[:3], 1.0)
    torch.manual_seed(seed)
    model = reference.model(argparse.Namespace(**config, **losses, droppath_prob=0.0, mode="train"))
    if head:
        model.register_classification_head("head", num_classes=head)
    if perturb:
        with torch.no_grad():
            for module in model.modules():
                _perturb(module, perturb)
    return model


def _perturb(module: nn.Module, scale: float) -> None:
    for parameter in module.parameters(recurse=False):
        matrix = parameter.dim() == 2 and not isinstance(module, nn.Embedding)
        parameter.add_(
            torch.randn_like(parameter),
            alpha=scale * (parameter.shape[1] ** -0.5 if matrix else 1.0),
        )
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        module.weight[module.padding_idx] = 0


def feature_arrays(
    numbers, feats, bonds, bond_feats, visible: bool = True
) -> dict[str, np.ndarray]:
    """molnb's integers of one molecule (heavy atoms) as the rows of the reference's tables, int64.

    `atom_feat` [n, 8], `degree` [n], `edge_feat` [n, n, 3], `shortest_path` [n, n], `pair_type` [n,
    n, 2]; with `visible` false, as the reference writes them when it drops a molecule's features.
    """
    n = len(numbers)
    edges = np.full((n, n, 3), 2)
    i, j = np.asarray(bonds, np.int64).reshape(-1, 2).T
    edges[i, j] = edges[j, i] = np.asarray(bond_feats, np.int64) + 4 + 16 * np.arange(3)
    bonded = edges[..., 0] > 2
    hops = shortest_paths(torch.from_numpy(bonded)[None])[0].numpy().astype(np.int64)
    found = {
        "atom_feat": np.asarray(feats, np.int64)[:, :8] + 3 + 16 * np.arange(8),
        "degree": bonded.sum(1) + 2,
        "edge_feat": edges,
        "shortest_path": np.where(hops < 0, 510, hops + 1),
    }
    if not visible:
        found = {k: np.full_like(v, 511 if k == "shortest_path" else 1) for k, v in found.items()}
    # from the chirality column, as in the reference: where its own code means the element
    left, right = np.broadcast_arrays(
        found["atom_feat"][:, 0][:, None] + 1, found["atom_feat"][:, 0][None] + 129
    )
    return found | {"pair_type": np.stack([left, right], -1)}


def make_batch(question: MaskedBatch, targets: bool = True) -> dict[str, Tensor]:
    """What the reference's collate function would hand to its model for these molecules, and its
    targets.

    One more node than `n` atoms, padded to a multiple of four: all arrays are `n` atoms long,
    `attn_bias` `n + 1`.
    """
    batch = question.batch
    n = (batch.longest + 4) // 4 * 4 - 1
    numbers = spread(batch.numbers.long(), batch, n)
    hidden = spread(question.hidden, batch, n)
    real = spread(torch.ones_like(batch.numbers, dtype=torch.bool), batch, n)
    arrays = {
        k: torch.from_numpy(v) for k, v in _padded_features(batch, question.visible, n).items()
    }
    arrays |= {"src_token": torch.where(hidden, 127, numbers), "atom_mask": real.long()}
    arrays |= {
        "src_pos": spread(question.noisy.float(), batch, n),
        "attn_bias": _attention_mask(real),
    }
    if targets:
        arrays["target_token"] = torch.where(hidden, numbers, 0)
        arrays["target_pos"] = spread(centred(batch), batch, n)
    return arrays


def _padded_features(batch: MolBatch, visible: Tensor, n: int) -> dict[str, np.ndarray]:
    atoms, bonds = (np.cumsum([0, *counts.tolist()]) for counts in (batch.n_atoms, batch.n_bonds))
    padded: dict[str, np.ndarray] = {}
    for m in range(batch.n_mol):
        atom, bond = slice(*atoms[m : m + 2]), slice(*bonds[m : m + 2])
        given = (batch.numbers[atom], batch.feats[atom], batch.bonds[bond], batch.bond_feats[bond])
        for name, values in feature_arrays(*(x.numpy() for x in given), bool(visible[m])).items():
            size = len(values)
            sides = (n, n) if name in ON_PAIRS else (n,)
            wide = padded.setdefault(
                name, np.zeros((batch.n_mol, *sides, *values.shape[len(sides) :]), np.int64)
            )
            wide[(m, *[slice(size)] * len(sides))] = values
    return padded


def _attention_mask(real: Tensor) -> Tensor:
    """Zero, and minus infinity where the key is padding: for real queries and for padded ones
    alike.
    """
    nodes = torch.cat([torch.ones_like(real[:, :1]), real], 1)
    mask = torch.zeros(len(nodes), nodes.shape[1], nodes.shape[1])
    return mask.masked_fill(~nodes[:, None, :], float("-inf"))


def reference_losses(
    reference: Reference, model: nn.Module, batch: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The three pretraining losses and their sum, `loss`, by the reference's loss class; only
    the sum has gradients.
    """
    score = reference.loss(SimpleNamespace(args=model.args, seed=0))
    total, _, logged = score(model, {"batched_data": batch})
    return {name: logged[name] for name in LOSSES} | {"loss": total}


def reference_outputs(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """`x0 x pair coord dist logits` and, with a fine-tuning head, `cls_logits`, all padded as
    given.

    `logits` are those of the masked atoms where the batch has token targets, else of all atoms.
    """
    tracks: list[tuple[Tensor, Tensor]] = []
    hook = model.encoder.register_forward_hook(lambda _, __, out: tracks.append(out))
    masked = batch["target_token"] > 0 if "target_token" in batch else None
    try:
        logits, dist, coord = model(batch, encoder_masked_tokens=masked)
    finally:
        hook.remove()
    (x, pair), x0 = tracks[0], model.atom_feature(batch, model.embed_tokens(batch["src_token"]))
    found = {"x0": x0, "x": x, "pair": pair, "coord": coord, "dist": dist, "logits": logits}
    heads = dict(model.classification_heads.items())
    return found | ({"cls_logits": next(iter(heads.values()))(x)} if heads else {})
