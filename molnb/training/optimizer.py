"""AdamW, perhaps with Muon beside it, rates, and state as tensors that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..models.model import Model
from .checkpoints import AVERAGE, MODEL, below, check_fit
from .config import RunConfig
from .muon import Muon, block_matrices
from .runs import width_factors
from .sharding import is_split, own_part, placed_like

TRACE = 1e-30  # a moment below it moves no weight
TRACES_EVERY = 64  # steps: meanwhile a trace shrinks to 1e-33 (betas of 0.9) and stays normal
MOMENTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")  # of AdamW, of Muon
_STATE = "optimizer."


class Optimizers:
    """Several optimisers, each of other parameters, used as one; they share one state."""

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]):
        self._optimizers = optimizers
        self.param_groups = [group for one in optimizers for group in one.param_groups]
        self.state = optimizers[0].state
        for one in optimizers[1:]:
            one.state = self.state

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters."""
        for one in self._optimizers:
            one.zero_grad(set_to_none)

    def step(self) -> None:
        """Change all parameters that have a gradient."""
        for one in self._optimizers:
            one.step()


Optimizer = torch.optim.Optimizer | Optimizers


def make_optimizer(config: RunConfig, model: Model) -> Optimizer:
    """AdamW, or Muon for matrices of blocks and AdamW beside it; vectors do not decay.

    A group's `share` is its part of the learning rate, whichever optimiser it is of; what a step
    decays does not change with it under width transfer (whose factors are made for AdamW).
    """
    depth_of = model.encoder.depth_of
    factors = width_factors(config, model)
    matrices = set(map(id, block_matrices(model))) if config.optimizer == "muon" else set()
    groups: dict[tuple[bool, float, float, bool], list] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if parameter.ndim >= 2 else 0.0
            share = rate_share(config, name, depth_of, model.encoder.n_block) * factors[name]
            decay /= factors[name]
            # one call updates tensors that are split, or tensors that are not
            group = (id(parameter) in matrices, share, decay, is_split(parameter))
            groups.setdefault(group, []).append(parameter)
    rows: dict[bool, list[dict]] = {False: [], True: []}
    for (of_muon, share, decay, _), parameters in groups.items():
        row = {"params": parameters, "share": share, "weight_decay": decay}
        rows[of_muon].append(row)
    adamw = torch.optim.AdamW(
        rows[False],
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.epsilon,
        fused=True,  # a pass over the numbers where plain PyTorch takes a dozen
    )
    return Optimizers([adamw, Muon(rows[True], config.learning_rate)]) if rows[True] else adamw


@torch.no_grad()
def clear_traces(optimizer: Optimizer) -> None:
    """Set moments to zero that have all but died away.

    The moment of a row that no molecule reads any more shrinks step by step, and stays for ever at
    the smallest of subnormal numbers, for which some processors take many times as long as for
    others.
    """
    for state in optimizer.state.values():
        for key in state.keys() & MOMENTS:
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


def gather_state(model: Model, optimizer: Optimizer) -> dict[str, torch.Tensor]:
    """Weights and optimiser state under the parameters' names."""
    tensors = {MODEL + name: tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{_STATE}{name}.{key}"] = value
    return tensors


def restore_state(
    model: Model, optimizer: Optimizer, tensors: dict[str, torch.Tensor], origin: str
) -> None:
    """Undo `gather_state`. Raises InputError if the tensors are another model's."""
    weights = below(MODEL, tensors)
    check_fit(model, weights, origin)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            own_part(tensor).copy_(own_part(weights[name]))
    for name, parameter in model.named_parameters():
        state = below(f"{_STATE}{name}.", tensors)
        if state:
            optimizer.state[parameter] = {
                key: placed_like(parameter, value) for key, value in state.items()
            }


def split_places(model: Model) -> dict[str, torch.Tensor]:
    """The parameter as which a tensor is split, by the names of `gather_state` and `Average`."""
    places = {}
    for name, parameter in model.named_parameters():
        if is_split(parameter):
            places |= {MODEL + name: parameter, AVERAGE + name: parameter}
            places |= {f"{_STATE}{name}.{moment}": parameter for moment in MOMENTS}
    return places
