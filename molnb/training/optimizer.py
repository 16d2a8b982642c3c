"""AdamW, its learning rates, and its state as tensors that a checkpoint can hold."""

from __future__ import annotations

from pathlib import Path

import torch

from ..errors import InputError
from ..models.model import Model
from .config import RunConfig


def make_optimizer(config: RunConfig, model: Model) -> torch.optim.AdamW:
    """AdamW; matrices decay, vectors (biases, gains) do not.

    A group's `share` is its part of the learning rate.
    """
    groups: dict[tuple[float, float], list] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            decay = config.weight_decay if parameter.ndim >= 2 else 0.0
            groups.setdefault((rate_share(config, name), decay), []).append(parameter)
    rows = [
        {"params": p, "share": share, "weight_decay": decay} for (share, decay), p in groups.items()
    ]
    return torch.optim.AdamW(rows, lr=config.learning_rate, betas=config.betas, eps=config.epsilon)


def rate_share(config: RunConfig, name: str) -> float:
    """What a parameter gets of the learning rate: heads their own, lower blocks less and less,
    embeddings least.
    """
    parts = name.split(".")
    if parts[0] == "heads":
        return (config.head_learning_rate or config.learning_rate) / config.learning_rate
    if parts[1] in ("token_head", "movement_head"):
        return 1.0
    depth = int(parts[2]) + 1 if parts[1] == "blocks" else 0
    return config.layer_decay ** (config.model.n_layer - depth)


def learning_rate(config: RunConfig, step: int) -> float:
    """Linear warm-up, then linear decay to zero (step counts from 0)."""
    warm = (step + 1) / max(config.warmup_steps, 1)
    cool = (config.steps - step) / max(config.steps - config.warmup_steps, 1)
    return config.learning_rate * max(0.0, min(warm, cool, 1.0))


def gather_state(model: Model, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Weights and optimiser state under the parameters' names."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimiser.{name}.{key}"] = value
    return tensors


def restore_state(
    model: Model, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor], origin: Path
) -> None:
    """Undo `gather_state`. Raises InputError if the tensors are another model's."""
    weights = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
    for name, expected in model.state_dict().items():
        if name not in weights or weights[name].shape != expected.shape:
            there = tuple(weights[name].shape) if name in weights else "absent"
            raise InputError(
                f"the checkpoint in {origin} belongs to another model: {name} is {there} there and "
                f"{tuple(expected.shape)} here. Delete the folder, or give the run another one"
            )
    model.load_state_dict(weights)
    for name, parameter in model.named_parameters():
        prefix = f"optimiser.{name}."
        state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if state:
            device = parameter.device
            optimizer.state[parameter] = {
                k: v if k == "step" else v.to(device) for k, v in state.items()
            }
