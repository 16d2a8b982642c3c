"""The authors' own Uni-Mol2, unmodified, beside ours: its model, its loss, its padded arrays.

Two checkouts are needed, given by path, and nothing of them is kept here:

    git clone https://github.com/deepmodeling/Uni-Mol   --reference Uni-Mol (it holds `unimol2`)
    git clone https://github.com/dptech-corp/Uni-Core   --core Uni-Core (it holds `unicore`)

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

from molnb.data.batch import MolBatch, pad_atoms
from molnb.data.encodings.paths import shortest_paths
from molnb.data.masked import MaskedBatch
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
    """The reference's classes from two checkouts; a process takes no second pair of checkouts."""
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
    """The reference's modules for integer features: `molecule_dataset` and `unimol2_dataset`."""
    load(uni_mol, uni_core)
    data = sys.modules["unicore.data"]
    try:
        plain = importlib.import_module("unicore.data.unicore_dataset")
        data.UnicoreDataset = plain.UnicoreDataset
        wrapper = importlib.import_module("unicore.data.base_wrapper_dataset")
        data.BaseWrapperDataset = wrapper.BaseWrapperDataset
        return (
            importlib.import_module("unimol2.data.molecule_dataset"),
            importlib.import_module("unimol2.data.unimol2_dataset"),
        )
    except ModuleNotFoundError as error:
        raise InputError(
            f"the reference's feature code needs {error.name}: pip install {error.name}"
        ) from None


def package_folder(checkout: str | Path, package: str, name: str) -> Path:
    """The folder of a Python package in a checkout, or in a folder of it (Uni-Mol/unimol2)."""
    marker = {"unimol2": "models/unimol2.py", "unicore": "models/unicore_model.py"}[package]
    for folder in (Path(checkout) / package / package, Path(checkout) / package, Path(checkout)):
        if (folder / marker).is_file():
            return folder.resolve()
    raise InputError(
        f"{checkout} is no checkout of {name}: it has no {package}/{marker}; "
        "give the folder git cloned into"
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
                    f"{name} was already imported from {list(present.__path__)}: "
                    "start a new process"
                )
            continue
        package = ModuleType(name)
        package.__path__ = [str(folder)]
        sys.modules[name] = package
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], leaf, package)


def make_model(
    reference: Reference, config: dict, seed: int = 0, perturb: float = 0.0, head: int = 0
) -> nn.Module:
    """The reference's model in training mode; `config` has its own names (`encoder_layers`, ...).

    `perturb` moves every parameter off its initial value, so that no bias, gain or gate is trivial:
    vectors and tables by N(0, perturb²), matrices by N(0, perturb²/columns), which keeps
    activations of any width alike. Rows of padding stay zero. With `head` it gets a fine-tuning
    head of that many classes, named "head".
    """
    losses = dict.fromkeys(LOSSES[:3], 1.0)
    arguments = argparse.Namespace(**config, **losses, droppath_prob=0.0, mode="train")
    torch.manual_seed(seed)
    model = reference.model(arguments)
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
        factor = parameter.shape[1] ** -0.5 if matrix else 1.0
        parameter.add_(torch.randn_like(parameter), alpha=scale * factor)
    if isinstance(module, nn.Embedding) and module.padding_idx is not None:
        module.weight[module.padding_idx] = 0


def feature_arrays(
    numbers, feats, bonds, bond_feats, visible: bool = True
) -> dict[str, np.ndarray]:
    """molnb's integers of one molecule (heavy atoms) as the rows of the reference's tables, int64.

    `atom_feat` is [n, 8], `degree` [n], `edge_feat` [n, n, 3], `shortest_path` [n, n] and
    `pair_type` [n, n, 2]. With `visible` false they are what the reference writes when it drops a
    molecule's features.
    """
    n = len(numbers)
    edges = np.full((n, n, 3), 2)
    i, j = np.asarray(bonds, np.int64).reshape(-1, 2).T
    edge_feats = np.asarray(bond_feats, np.int64).reshape(-1, 4)[:, :3]
    edges[i, j] = edges[j, i] = edge_feats + 4 + 16 * np.arange(3)
    bonded = edges[..., 0] > 2
    hops = shortest_paths(torch.from_numpy(bonded)[None])[0].numpy().astype(np.int64)
    arrays = {
        "atom_feat": np.asarray(feats, np.int64)[:, :8] + 3 + 16 * np.arange(8),
        "degree": bonded.sum(1) + 2,
        "edge_feat": edges,
        "shortest_path": np.where(hops < 0, 510, hops + 1),
    }
    if not visible:
        for name, values in arrays.items():
            arrays[name] = np.full_like(values, 511 if name == "shortest_path" else 1)
    # from the chirality column, as in the reference: where its own code means the element
    chirality = arrays["atom_feat"][:, 0]
    left, right = np.broadcast_arrays(chirality[:, None] + 1, chirality[None] + 129)
    return arrays | {"pair_type": np.stack([left, right], -1)}


def make_batch(masked: MaskedBatch, targets: bool = True) -> dict[str, Tensor]:
    """What the reference's collate function would hand to its model, with its targets.

    One more node than `n` atoms, padded to a multiple of four: all arrays are `n` atoms long,
    `attn_bias` `n + 1`.
    """
    batch = masked.batch
    n = (batch.longest + 4) // 4 * 4 - 1
    numbers = pad_atoms(batch.numbers.long(), batch, n)
    hidden = pad_atoms(masked.hidden, batch, n)
    real = pad_atoms(torch.ones_like(batch.numbers, dtype=torch.bool), batch, n)
    features = _padded_features(batch, masked.visible, n)
    arrays = {name: torch.from_numpy(values) for name, values in features.items()}
    arrays["src_token"] = torch.where(hidden, 127, numbers)
    arrays["atom_mask"] = real.long()
    arrays["src_pos"] = pad_atoms(masked.noisy.float(), batch, n)
    arrays["attn_bias"] = _attention_mask(real)
    if targets:
        arrays["target_token"] = torch.where(hidden, numbers, 0)
        arrays["target_pos"] = pad_atoms(centred(batch), batch, n)
    return arrays


def _padded_features(batch: MolBatch, visible: Tensor, n: int) -> dict[str, np.ndarray]:
    """`feature_arrays` of all molecules, padded with zeros to n atoms."""
    first_atom = np.cumsum([0, *batch.n_atoms.tolist()])
    first_bond = np.cumsum([0, *batch.n_bonds.tolist()])
    padded: dict[str, np.ndarray] = {}
    for m in range(batch.n_mol):
        atoms = slice(*first_atom[m : m + 2])
        bonds = slice(*first_bond[m : m + 2])
        arrays = feature_arrays(
            batch.numbers[atoms].numpy(),
            batch.feats[atoms].numpy(),
            batch.bonds[bonds].numpy(),
            batch.bond_feats[bonds].numpy(),
            bool(visible[m]),
        )
        for name, values in arrays.items():
            n_side = 2 if name in ON_PAIRS else 1
            if name not in padded:
                shape = (batch.n_mol, *[n] * n_side, *values.shape[n_side:])
                padded[name] = np.zeros(shape, np.int64)
            real = [slice(len(values))] * n_side
            padded[name][(m, *real)] = values
    return padded


def _attention_mask(real: Tensor) -> Tensor:
    """Zero, and minus infinity where the key is padding, for padded queries too."""
    nodes = torch.cat([torch.ones_like(real[:, :1]), real], 1)
    mask = torch.zeros(len(nodes), nodes.shape[1], nodes.shape[1])
    return mask.masked_fill(~nodes[:, None, :], float("-inf"))


def reference_losses(
    reference: Reference, model: nn.Module, batch: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The reference's three pretraining losses and their sum, `loss`, which alone has gradients."""
    score = reference.loss(SimpleNamespace(args=model.args, seed=0))
    total, _, logged = score(model, {"batched_data": batch})
    return {name: logged[name] for name in LOSSES} | {"loss": total}


def reference_outputs(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """`x0 x pair coord dist logits` of a padded batch, and `cls_logits` of a fine-tuning head.

    `logits` are those of the masked atoms where the batch has token targets, else of all atoms.
    """
    tracks: list[tuple[Tensor, Tensor]] = []  # of the encoder, which the model does not return
    hook = model.encoder.register_forward_hook(lambda _, __, out: tracks.append(out))
    masked = batch["target_token"] > 0 if "target_token" in batch else None
    try:
        logits, dist, coord = model(batch, encoder_masked_tokens=masked)
    finally:
        hook.remove()
    x, pair = tracks[0]
    x0 = model.atom_feature(batch, model.embed_tokens(batch["src_token"]))
    outputs = {"x0": x0, "x": x, "pair": pair, "coord": coord, "dist": dist, "logits": logits}
    for head in model.classification_heads.values():
        outputs["cls_logits"] = head(x)
    return outputs
