"""AdamW, its learning rates, and its state as tensors that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Callable

import torch

from ..models.model import Model
from .checkpoints import MODEL, check_fit
from .config import RunConfig
from .runs import width_factors
from .sharding import is_split, own_part, placed_like

TRACE = 1e-30  # a moment below it moves no weight
TRACES_EVERY = 64  # steps: meanwhile a trace shrinks to 1e-33 (betas of 0.9) and stays normal
MOMENTS = ("exp_avg", "exp_avg_sq")
_STATE = "optimizer."


def make_optimizer(config: RunConfig, model: Model) -> torch.optim.AdamW:
    """AdamW; matrices decay, vectors (biases, gains) do not.

    A group's `share` is its part of the learning rate; what a step decays does not change with it
    under width transfer.
    """
    depth_of = model.encoder.depth_of
    factors = width_factors(config, model)
    groups: dict[tuple[float, float, bool], list] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if parameter.ndim >= 2 else 0.0
            share = rate_share(config, name, depth_of, model.encoder.n_block) * factors[name]
            decay /= factors[name]
            # one call updates tensors that are split, or tensors that are not
            group = (share, decay, is_split(parameter))
            groups.setdefault(group, []).append(parameter)
    rows = [
        {"params": parameters, "share": share, "weight_decay": decay}
        for (share, decay, _), parameters in groups.items()
    ]
    return torch.optim.AdamW(
        rows,
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.epsilon,
        fused=True,  # a pass over the numbers where plain PyTorch takes a dozen
    )


@torch.no_grad()
def clear_traces(optimizer: torch.optim.Optimizer) -> None:
    """Set moments to zero that have all but died away.

    The moment of a row that no molecule reads any more shrinks step by step, and stays for ever at
    the smallest of subnormal numbers, for which some processors take many times as long as for
    others.
    """
    for state in optimizer.state.values():
        for key in MOMENTS:
            moment = own_part(state[key])
            moment.masked_fill_(moment.abs() < TRACE, 0.0)


def rate_share(config: RunConfig, name: str, depth_of: Callable[[str], int], n_block: int) -> float:
    """What a parameter of a model gets of the learning rate.

    Heads have a rate of their own, lower blocks get less and less, what embeds the input least.
    """
    part, _, parameter = name.partition(".")
    if part == "heads":
        return (config.head_learning_rate or config.learning_rate) / config.learning_rate
    return config.layer_decay ** (n_block - depth_of(parameter))


def learning_rate(config: RunConfig, step: int) -> float:
    """The rate of a step (from 0): a linear rise, then a linear fall to zero."""
    rise = (step + 1) / max(config.warmup_steps, 1)
    fall = (config.steps - step) / max(config.steps - config.warmup_steps, 1)
    return config.learning_rate * max(0.0, min(rise, fall, 1.0))


def gather_state(model: Model, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Weights and optimiser state under the parameters' names."""
    tensors = {MODEL + name: tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{_STATE}{name}.{key}"] = value
    return tensors


def weights_of(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights among what `gather_state` gave, by the parameters' names."""
    return _below(MODEL, tensors)


def restore_state(
    model: Model, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor], origin: str
) -> None:
    """Undo `gather_state`. Raises InputError if the tensors are another model's."""
    weights = _below(MODEL, tensors)
    check_fit(model, weights, origin)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            own_part(tensor).copy_(own_part(weights[name]))
    for name, parameter in model.named_parameters():
        state = _below(f"{_STATE}{name}.", tensors)
        if state:
            optimizer.state[parameter] = {
                key: placed_like(parameter, value) for key, value in state.items()
            }


def split_places(model: Model) -> dict[str, torch.Tensor]:
    """The parameter as which a tensor is split, by the names of `gather_state`."""
    places = {}
    for name, parameter in model.named_parameters():
        if is_split(parameter):
            places[MODEL + name] = parameter
            places |= {f"{_STATE}{name}.{moment}": parameter for moment in MOMENTS}
    return places


def _below(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors whose name begins with a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
