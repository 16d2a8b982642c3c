"""Weights of the authors' own code put into a model of molnb's, under molnb's names."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ..errors import InputError


def fill_model(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put weights into a model.

    Raises InputError for the first that is missing, of another shape, or has no place.
    """
    expected = model.state_dict()
    for name, tensor in expected.items():
        if name not in weights:
            raise InputError(
                f"the weights lack {name!r}: give a whole checkpoint of this configuration"
            )
        if weights[name].shape != tensor.shape:
            raise InputError(
                f"{name} has shape {tuple(weights[name].shape)}, the configuration asks for "
                f"{tuple(tensor.shape)}: give the checkpoint's own configuration"
            )
    unknown = set(weights) - set(expected)
    if unknown:
        raise InputError(
            f"the configuration has no place for {min(unknown)!r}: give the checkpoint's own"
        )
    model.load_state_dict(weights)
