"""The authors' weights and arrays: their parameter names and integer features, as molnb reads them.

What the public Uni-Mol2 code calls a tensor and what molnb calls it stand side by side in
``NAMES``. Weights loaded here keep ``Conventions`` ``REFERENCE``: they were trained under them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import InputError
from .config import REFERENCE, TwoTrackConfig
from .encoder import TwoTrack
from .inputs import EncoderInputs

_LAYER = {
    "self_attn.linear_q": "attention.query", "self_attn.linear_k": "attention.key",
    "self_attn.linear_v": "attention.value", "self_attn.linear_o": "attention.out",
    "self_attn.linear_bias": "attention.bias", "self_attn_layer_norm": "attention_norm",
    "final_layer_norm": "ffn_norm", "ffn.linear_1": "ffn.expand", "ffn.linear_2": "ffn.contract",
    "x_layer_norm_opm": "outer_norm", "opm.linear_in": "outer.project", "opm.linear_out": "outer.out",
    "pair_layer_norm_trimul": "triangle_norm", "pair_tri_mul.linear_ab_p": "triangle.project",
    "pair_tri_mul.linear_ab_g": "triangle.gate", "pair_tri_mul.linear_g": "triangle.out_gate",
    "pair_tri_mul.layer_norm_out": "triangle.norm", "pair_tri_mul.linear_z": "triangle.out",
    "pair_layer_norm_ffn": "pair_ffn_norm", "pair_ffn.linear_1": "pair_ffn.expand",
    "pair_ffn.linear_2": "pair_ffn.contract",
}  # fmt: skip
NAMES = {
    "embed_tokens": "tokens", "atom_feature.atom_encoder": "features", "atom_feature.degree_encoder": "degrees",
    "atom_feature.vnode_encoder": "virtual_atom", "edge_feature.edge_encoder": "bonds",
    # spelt so in the release
    "edge_feature.shorest_path_encoder": "hops", "edge_feature.vnode_virtual_distance": "virtual_pair",
    "encoder.layer_norm": "norm", "encoder.pair_layer_norm": "pair_norm",
    "lm_head.layer_norm": "token_head.norm", "lm_head.dense": "token_head.dense", "lm_head": "token_head.out",
    "se3_invariant_kernel.gaussian.mean": "kernel.mean", "se3_invariant_kernel.gaussian.mul": "kernel.mul",
    "se3_invariant_kernel.gaussian.bias": "kernel.bias", "se3_invariant_kernel.out_proj.layer1": "kernel.inner",
    "se3_invariant_kernel.out_proj.layer2": "kernel.out",
    "movement_pred_head.layer_norm": "movement_head.norm", "movement_pred_head.q_proj": "movement_head.query",
    "movement_pred_head.k_proj": "movement_head.key", "movement_pred_head.v_proj": "movement_head.value",
    "movement_pred_head.force_proj1": "movement_head.force",
    "movement_pred_head.pair_layer_norm": "movement_head.pair_norm",
    "movement_pred_head.linear_bias": "movement_head.bias",
}  # fmt: skip


def to_molnb_name(name: str) -> str | None:
    """molnb's name of a reference tensor; None for what the encoder does not have (fine-tuning
    heads).
    """
    layer = re.match(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$", name)
    if layer:
        return f"blocks.{layer[1]}.{_LAYER[layer[2]]}.{layer[3]}"
    if name in NAMES:
        return NAMES[name]
    stem, _, leaf = name.rpartition(".")
    return f"{NAMES[stem]}.{leaf}" if stem in NAMES else None


class ReferenceModel(nn.Module):
    """The encoder under the reference's conventions, with the heads its fine-tuning code
    registers.
    """

    def __init__(self, config: TwoTrackConfig, head_classes: dict[str, int]):
        super().__init__()
        self.encoder = TwoTrack(config)
        d = config.d_atom
        self.heads = nn.ModuleDict(
            {
                h: nn.ModuleDict({"dense": nn.Linear(d, d), "out_proj": nn.Linear(d, c)})
                for h, c in head_classes.items()
            }
        )

    def head_logits(self, molecule: Tensor) -> dict[str, Tensor]:
        return {
            name: h["out_proj"](torch.tanh(h["dense"](molecule))) for name, h in self.heads.items()
        }


def reference_config(config: dict) -> TwoTrackConfig:
    """A configuration in the reference's argument names, as molnb's."""
    return TwoTrackConfig(
        n_layer=config["encoder_layers"],
        d_atom=config["encoder_embed_dim"],
        n_head=config["encoder_attention_heads"],
        d_ffn=config["encoder_ffn_embed_dim"],
        d_pair=config["pair_embed_dim"],
        d_hidden=config["pair_hidden_dim"],
        conventions=REFERENCE,
    )


def load_reference(state_dict: dict[str, Tensor | np.ndarray], config: dict) -> ReferenceModel:
    """The reference's weights (tensors or NumPy arrays) in molnb's model, in evaluation mode.

    Raises InputError for tensors that are missing, unknown or of another shape, naming the first of
    them.
    """
    heads = [
        k.split(".")[1]
        for k in state_dict
        if re.match(r"classification_heads\.[^.]+\.out_proj\.weight$", k)
    ]
    classes = {h: state_dict[f"classification_heads.{h}.out_proj.weight"].shape[0] for h in heads}
    model = ReferenceModel(reference_config(config), classes)
    renamed = {}
    for name, tensor in state_dict.items():
        ours = to_molnb_name(name)
        if ours is None and not name.startswith("classification_heads."):
            raise InputError(
                f"the reference's model has no tensor {name!r}: is this another model's checkpoint?"
            )
        own = f"encoder.{ours}" if ours else name.replace("classification_heads.", "heads.")
        renamed[own] = torch.as_tensor(tensor)
    expected = model.state_dict()
    for name, tensor in expected.items():
        if name not in renamed:
            raise InputError(
                f"the weights lack {name!r}: give a whole checkpoint of this configuration"
            )
        if renamed[name].shape != tensor.shape:
            shapes = (
                f"{tuple(renamed[name].shape)}, the configuration asks for {tuple(tensor.shape)}"
            )
            raise InputError(f"{name} has shape {shapes}: give the checkpoint's own configuration")
    model.load_state_dict(renamed)
    return model.eval()


class ReferenceBatch(NamedTuple):
    """Arrays as the reference's collate function makes them, ready for the encoder, and the
    targets if any.
    """

    codes: EncoderInputs
    target_token: Tensor | None
    target_coords: Tensor | None


def make_reference_batch(arrays: dict) -> ReferenceBatch:
    """The reference's integer features (`atom_feat`, `edge_feat`, ...) and coordinates (Å),
    padded as they are.
    """
    t = {k: torch.as_tensor(v) for k, v in arrays.items()}
    pair_type, edge = t["pair_type"].long(), t["edge_feat"].long()
    kind = torch.where(
        edge[..., 0] > 2,
        3 + 12 * (edge[..., 0] - 4) + 2 * (edge[..., 1] - 20) + edge[..., 2] - 36,
        edge[..., 0],
    )
    codes = EncoderInputs(
        real=t["atom_mask"].bool(),
        tokens=t["src_token"].long(),
        feats=t["atom_feat"].long(),
        degree=t["degree"].long(),
        bond_kind=kind,
        hops=t["shortest_path"].long(),
        pair_left=pair_type[..., 0].amax(2),
        pair_right=pair_type[..., 1].amax(1),
        coords=t["src_pos"].float(),
    )
    return ReferenceBatch(codes, t.get("target_token"), t.get("target_pos"))


def reference_outputs(model: ReferenceModel, batch: ReferenceBatch) -> dict[str, Tensor]:
    """`x0 x pair coord dist logits cls_logits` in the reference's layout: virtual node first,
    padded as given.

    `logits` are those of the masked atoms where the batch has token targets, else of all atoms.
    """
    encoder = model.encoder
    tracks = encoder(batch.codes)
    atoms = tracks.atoms[:, 1:]
    if batch.target_token is not None:
        atoms = atoms[batch.target_token > 0]
    out = {
        "x0": tracks.layout.spread_nodes(encoder.embed_atoms(batch.codes)),
        "x": tracks.atoms,
        "pair": tracks.pairs,
        "coord": tracks.coords,
        "dist": _distances(tracks.coords),
        "logits": encoder.token_head(atoms),
    }
    heads = model.head_logits(tracks.molecule)
    return out | ({"cls_logits": next(iter(heads.values()))} if heads else {})


def reference_losses(model: ReferenceModel, batch: ReferenceBatch) -> dict[str, Tensor]:
    """The three pretraining losses under the reference's names, and their sum."""
    out = reference_outputs(model, batch)
    real, target = batch.codes.real, batch.target_coords.float()
    n = real.sum(1)
    pairs = real[:, :, None] & real[:, None, :]
    token = F.cross_entropy(
        out["logits"].float(), batch.target_token[batch.target_token > 0].long()
    )
    coord = (((out["coord"] - target).abs().sum(-1) * real).sum(1) / n).mean()
    dist = (((out["dist"] - _distances(target)).abs() * pairs).sum((1, 2)) / n**2).mean()
    terms = {"masked_token_loss": token, "masked_coord_loss": coord, "masked_dist_loss": dist}
    return terms | {"loss": token + coord + dist}


def reference_gradients(model: ReferenceModel, batch: ReferenceBatch) -> dict[str, Tensor]:
    """Gradients of the summed pretraining loss under the reference's parameter names (dropout off).

    Those of `linear_bias.bias` are zero: they shift all logits of a softmax alike, and the encoder
    leaves them out.
    """
    model.zero_grad(set_to_none=True)
    reference_losses(model, batch)["loss"].backward()
    parameters = dict(model.encoder.named_parameters())
    found = {name: parameters[ours] for name, ours in reference_names(model).items()}
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in found.items()}


def reference_names(model: ReferenceModel) -> dict[str, str]:
    """Every parameter of the encoder: the reference's name to molnb's."""
    stems = {
        f"encoder.layers.{i}.{k}": f"blocks.{i}.{v}"
        for i in range(len(model.encoder.blocks))
        for k, v in _LAYER.items()
    }
    ours = set(dict(model.encoder.named_parameters()))
    pairs = [
        (f"{theirs}.{leaf}", f"{stem}.{leaf}")
        for theirs, stem in (NAMES | stems).items()
        for leaf in ("weight", "bias")
    ]
    return {theirs: name for theirs, name in pairs if name in ours}


def _distances(coords: Tensor) -> Tensor:
    return torch.linalg.vector_norm(coords[:, None] - coords[:, :, None], dim=-1)
