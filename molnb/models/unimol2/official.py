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

from ...data.batch import distances, real_pairs
from ...errors import InputError
from ...shapes import Float
from ..model import Model
from ..official_weights import fill_model
from .config import REFERENCE, TwoTrackConfig
from .encoder import make_two_track
from .inputs import EncoderInputs

_LAYER = {
    "self_attn.linear_q": "attention.query",
    "self_attn.linear_k": "attention.key",
    "self_attn.linear_v": "attention.value",
    "self_attn.linear_o": "attention.out",
    "self_attn.linear_bias": "attention.bias",
    "self_attn_layer_norm": "attention_norm",
    "final_layer_norm": "ffn_norm",
    "ffn.linear_1": "ffn.expand",
    "ffn.linear_2": "ffn.contract",
    "x_layer_norm_opm": "outer_norm",
    "opm.linear_in": "outer.project",
    "opm.linear_out": "outer.out",
    "pair_layer_norm_trimul": "triangle_norm",
    "pair_tri_mul.linear_ab_p": "triangle.project",
    "pair_tri_mul.linear_ab_g": "triangle.gate",
    "pair_tri_mul.linear_g": "triangle.out_gate",
    "pair_tri_mul.layer_norm_out": "triangle.norm",
    "pair_tri_mul.linear_z": "triangle.out",
    "pair_layer_norm_ffn": "pair_ffn_norm",
    "pair_ffn.linear_1": "pair_ffn.expand",
    "pair_ffn.linear_2": "pair_ffn.contract",
}
NAMES = {
    "embed_tokens": "encoder.tokens",
    "atom_feature.atom_encoder": "encoder.features",
    "atom_feature.degree_encoder": "encoder.degrees",
    "atom_feature.vnode_encoder": "encoder.virtual_atom",
    "edge_feature.edge_encoder": "encoder.bonds",
    # spelt so in the release
    "edge_feature.shorest_path_encoder": "encoder.hops",
    "edge_feature.vnode_virtual_distance": "encoder.virtual_pair",
    "encoder.layer_norm": "encoder.norm",
    "encoder.pair_layer_norm": "encoder.pair_norm",
    "lm_head.layer_norm": "heads.tokens.norm",
    "lm_head.dense": "heads.tokens.dense",
    "lm_head": "heads.tokens.out",
    "se3_invariant_kernel.gaussian.mean": "encoder.kernel.mean",
    "se3_invariant_kernel.gaussian.mul": "encoder.kernel.mul",
    "se3_invariant_kernel.gaussian.bias": "encoder.kernel.bias",
    "se3_invariant_kernel.out_proj.layer1": "encoder.kernel.inner",
    "se3_invariant_kernel.out_proj.layer2": "encoder.kernel.out",
    "movement_pred_head.layer_norm": "heads.movement.norm",
    "movement_pred_head.q_proj": "heads.movement.query",
    "movement_pred_head.k_proj": "heads.movement.key",
    "movement_pred_head.v_proj": "heads.movement.value",
    "movement_pred_head.force_proj1": "heads.movement.force",
    "movement_pred_head.pair_layer_norm": "heads.movement.pair_norm",
    "movement_pred_head.linear_bias": "heads.movement.bias",
}


CLASSIFICATION = "classification_heads."  # how the names of its fine-tuning heads begin


def to_molnb_name(name: str) -> str | None:
    """The name in molnb's model of a reference tensor; None for one that it does not have."""
    layer = re.match(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)$", name)
    if layer:
        return f"encoder.blocks.{layer[1]}.{_LAYER[layer[2]]}.{layer[3]}"
    if name in NAMES:
        return NAMES[name]
    stem, _, leaf = name.rpartition(".")
    return f"{NAMES[stem]}.{leaf}" if stem in NAMES else None


class ReferenceModel(Model):
    """Encoder and masking heads under the reference's conventions, with its fine-tuning heads."""

    def __init__(self, config: TwoTrackConfig, n_class: dict[str, int]):
        super().__init__(*make_two_track(config))
        d = config.d_atom
        self.classification = nn.ModuleDict(
            {
                head: nn.ModuleDict({"dense": nn.Linear(d, d), "out_proj": nn.Linear(d, n)})
                for head, n in n_class.items()
            }
        )

    def class_logits(self, molecule: Float[Tensor, "mol d_atom"]) -> dict[str, Tensor]:
        """The output of each fine-tuning head."""
        return {
            name: head["out_proj"](torch.tanh(head["dense"](molecule)))
            for name, head in self.classification.items()
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
    n_class = {}
    for name, tensor in state_dict.items():
        head = re.match(r"classification_heads\.([^.]+)\.out_proj\.weight$", name)
        if head:
            n_class[head[1]] = tensor.shape[0]
    model = ReferenceModel(reference_config(config), n_class)
    renamed = {}
    for name, tensor in state_dict.items():
        own_name = to_molnb_name(name)
        if own_name is None and name.startswith(CLASSIFICATION):
            own_name = name.replace(CLASSIFICATION, "classification.")
        if own_name is None:
            raise InputError(
                f"the reference's model has no tensor {name!r}: is this another model's checkpoint?"
            )
        renamed[own_name] = torch.as_tensor(tensor)
    fill_model(model, renamed)
    return model.eval()


class ReferenceBatch(NamedTuple):
    """Arrays as the reference's collate function makes them, and the targets if any."""

    inputs: EncoderInputs
    target_token: Tensor | None
    target_coords: Tensor | None


def make_reference_batch(arrays: dict) -> ReferenceBatch:
    """A batch from the reference's own arrays (`atom_feat`, `edge_feat`, ...), padded as they are.

    Coordinates are in Å.
    """
    tensors = {name: torch.as_tensor(array) for name, array in arrays.items()}
    pair_type = tensors["pair_type"].long()
    kind, stereo, conjugated = tensors["edge_feat"].long().unbind(-1)
    # rows of three columns as one number; up to 2 they mean padding, hidden, no bond
    combined = 3 + 12 * (kind - 4) + 2 * (stereo - 20) + conjugated - 36
    inputs = EncoderInputs(
        real=tensors["atom_mask"].bool(),
        tokens=tensors["src_token"].long(),
        feats=tensors["atom_feat"].long(),
        degree=tensors["degree"].long(),
        bond_kind=torch.where(kind > 2, combined, kind),
        hops=tensors["shortest_path"].long(),
        pair_left=pair_type[..., 0].amax(2),
        pair_right=pair_type[..., 1].amax(1),
        coords=tensors["src_pos"].float(),
    )
    return ReferenceBatch(inputs, tensors.get("target_token"), tensors.get("target_pos"))


def reference_outputs(model: ReferenceModel, batch: ReferenceBatch) -> dict[str, Tensor]:
    """`x0 x pair coord dist logits cls_logits` in the reference's layout.

    The virtual node comes first, and all is padded as given. `logits` are those of the masked atoms
    where the batch has token targets, else of all atoms.
    """
    encoder = model.encoder
    encoding = encoder.wrap(batch.inputs, encoder.encode(batch.inputs))
    coords = model.heads["movement"].move(encoding)
    atoms = encoding.atoms[:, 1:]
    if batch.target_token is not None:
        atoms = atoms[batch.target_token > 0]
    outputs = {
        "x0": encoding.layout.spread_nodes(encoder.embed_atoms(batch.inputs)),
        "x": encoding.atoms,
        "pair": encoding.pairs,
        "coord": coords,
        "dist": distances(coords),
        "logits": model.heads["tokens"].logits(atoms),
    }
    for logits in model.class_logits(encoding.molecule).values():
        outputs.setdefault("cls_logits", logits)
    return outputs


def reference_losses(model: ReferenceModel, batch: ReferenceBatch) -> dict[str, Tensor]:
    """The three pretraining losses under the reference's names, and their sum."""
    outputs = reference_outputs(model, batch)
    real = batch.inputs.real
    target = batch.target_coords.float()
    n = real.sum(1)
    elements = batch.target_token[batch.target_token > 0].long()
    moved = (outputs["coord"] - target).abs().sum(-1) * real
    stretched = (outputs["dist"] - distances(target)).abs() * real_pairs(real)
    losses = {
        "masked_token_loss": F.cross_entropy(outputs["logits"].float(), elements),
        "masked_coord_loss": (moved.sum(1) / n).mean(),
        "masked_dist_loss": (stretched.sum((1, 2)) / n**2).mean(),
    }
    return losses | {"loss": sum(losses.values())}


def reference_gradients(model: ReferenceModel, batch: ReferenceBatch) -> dict[str, Tensor]:
    """Gradients of the summed pretraining loss under the reference's parameter names (no dropout).

    Those of `linear_bias.bias` are zero: they shift all logits of a softmax alike, and the encoder
    leaves them out.
    """
    model.zero_grad(set_to_none=True)
    reference_losses(model, batch)["loss"].backward()
    parameters = dict(model.named_parameters())
    gradients = {}
    for name, own_name in reference_names(model).items():
        parameter = parameters[own_name]
        gradient = parameter.grad
        gradients[name] = torch.zeros_like(parameter) if gradient is None else gradient
    return gradients


def reference_names(model: Model) -> dict[str, str]:
    """Every parameter of encoder and masking heads: the reference's name to molnb's."""
    stems = dict(NAMES)
    for layer in range(len(model.encoder.blocks)):
        for name, own_name in _LAYER.items():
            stems[f"encoder.layers.{layer}.{name}"] = f"encoder.blocks.{layer}.{own_name}"
    own_names = set(dict(model.named_parameters()))
    return {
        f"{name}.{leaf}": f"{own_name}.{leaf}"
        for name, own_name in stems.items()
        for leaf in ("weight", "bias")
        if f"{own_name}.{leaf}" in own_names
    }
