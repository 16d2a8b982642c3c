"""An encoder and its heads: what is trained, stored and loaded."""

from __future__ import annotations

from torch import nn

from ..data.batch import pad
from ..data.masked import MaskedBatch, spread
from .unimol2.encoder import TwoTrack, TwoTrackEncoding
from .unimol2.inputs import encode, mark_shapes


def run_encoder(
    encoder: TwoTrack, question: MaskedBatch, molecule_only: bool = False
) -> TwoTrackEncoding:
    """Pad, withhold and encode: the forward pass that every objective shares."""
    batch = question.batch
    n = encoder.padded_length(batch.longest, batch.numbers.device)
    view = pad(batch, n)._replace(coords=spread(question.noisy, batch, n))
    codes = encode(
        view, encoder.config.conventions, spread(question.hidden, batch, n), question.visible
    )
    if encoder.compiled:
        mark_shapes(codes)
    return encoder(codes, molecule_only)


class Model(nn.Module):
    """An encoder and the heads an objective asks for: what is trained, stored and loaded."""

    def __init__(self, encoder: TwoTrack, objective):
        super().__init__()
        self.encoder = encoder
        self.heads = objective.make_heads(encoder)
