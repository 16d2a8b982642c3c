"""Blocks of an encoder split over processes (FSDP2), and checkpoints of which each writes its part.

A process keeps its part of each block's parameters, gradients and optimiser state, and collects a
block when it is computed. Tables and heads stay whole everywhere: they are small, and which of them
a group of molecules needs depends on its labels, while a block is collected by all processes at
once.

AdamW makes any difference of rounding larger, so there is none where it can be helped: two
processes that have a group of molecules each make the same bits with blocks split or whole. Of more
groups gradients are added in another order, over the processes after every group, since no process
has room for those of all blocks.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import InputError
from ..models.heads import LabelHead
from ..models.model import Model

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

# torch.distributed's tensors, FSDP and checkpoints are imported where they are needed: that takes a
# second, and most trainings are of one process.

# AdamW on a CPU computes so many numbers of float32 at once, at most; what is left over at the end
# of a tensor it computes one by one, which rounds differently.
VECTOR = 16


class Sharding(NamedTuple):
    """The processes among which blocks are split; what writes in the background has a line apart.

    Messages of two threads on one connection would meet each other.
    """

    computing: DeviceMesh
    writing: DeviceMesh


def connect(device: torch.device) -> Sharding:
    """All processes of this training; they call this together."""
    from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

    computing = init_device_mesh(device.type, (dist.get_world_size(),))
    writing = DeviceMesh.from_group(dist.new_group(backend="gloo"), "cpu")
    return Sharding(computing, writing)


def shard_blocks(model: Model, sharding: Sharding) -> None:
    """Split the blocks of a model's encoder; gradients become sums over processes, as elsewhere."""
    from torch.distributed.fsdp import FSDPModule, fully_shard

    encoder = model.encoder
    blocks = encoder.parts()
    if not blocks:
        raise InputError(
            f"encoders of the family {encoder.config.family!r} name no parts that could be split: "
            "train it without sharding"
        )
    n_part = sharding.computing.size()
    split = {p for block in blocks for p in block.parameters() if _splits_well(p, n_part)}
    whole = set(encoder.parameters()) - split
    # Where tasks are of several levels, a group of one process may lack the labels of one level and
    # leave parameters out that another process uses: they then count as zero. Otherwise what
    # nothing uses has no gradient anywhere.
    heads = [head for head in model.heads.values() if isinstance(head, LabelHead)]
    may_differ = len({level for head in heads for level in head.levels}) > 1
    if may_differ and not hasattr(FSDPModule, "set_reduce_scatter_unused_params"):
        raise InputError(
            f"torch {torch.__version__} cannot split blocks between tasks of several levels, of "
            "which some labels may be missing: install torch 2.13, or train without sharding"
        )
    # A block that hands on what it was given (a graph's bonds) hands on a view, which FSDP warns
    # of; nothing here is changed in place.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module")
    for block in blocks:
        fully_shard(
            block, mesh=sharding.computing, reshard_after_forward=True, ignored_params=whole
        )
        block.set_gradient_divide_factor(1.0)
        block.set_force_sum_reduction_for_comms(True)
        if may_differ:
            block.set_reduce_scatter_unused_params(True)
    fully_shard(encoder, mesh=sharding.computing, ignored_params=whole)  # collects ahead


def _splits_well(parameter: nn.Parameter, n_part: int) -> bool:
    """Whether AdamW computes all parts of a parameter as it computes the whole.

    Short vectors are not worth a difference of rounding, nor the few bytes of a part.
    """
    if parameter.ndim == 0:
        return False
    n_row = -(-len(parameter) // n_part)  # of every part but the last
    return n_row * parameter[0].numel() % VECTOR == 0


def is_split(tensor: Tensor) -> bool:
    """Whether processes keep a part each of a tensor."""
    return hasattr(tensor, "to_local")


def own_part(tensor: Tensor) -> Tensor:
    """What this process keeps of a tensor: all of one that is not split."""
    return tensor.to_local() if is_split(tensor) else tensor


def placed_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """A tensor on a parameter's device, split as the parameter is where the tensor is split."""
    if not is_split(tensor):
        return tensor.to(parameter.device)
    return _with_part(tensor, tensor.to_local().to(parameter.device), parameter.device_mesh)


def join_parts(
    copies: Mapping[str, Tensor], tensors: Mapping[str, Tensor], sharding: Sharding
) -> dict[str, Tensor]:
    """Copies of own parts, each split as its tensor is, to be written by all processes."""
    return {
        name: _with_part(tensors[name], copy, sharding.writing) if is_split(tensors[name]) else copy
        for name, copy in copies.items()
    }


def whole_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of which nothing is elsewhere, on the CPU; all processes call this together."""
    return {
        name: (tensor.full_tensor() if is_split(tensor) else tensor).detach().cpu()
        for name, tensor in tensors.items()
    }


def cut(tensor: Tensor, parameter: Tensor, sharding: Sharding) -> Tensor:
    """Of a tensor that is there whole, the own part as that of a parameter is split."""
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, sharding.writing, parameter.placements, src_data_rank=None)


def whole_of(parameter: Tensor, part: Tensor) -> Tensor:
    """The whole tensor of which each process has a part, split as a parameter is.

    All processes call this together; of a parameter that is not split, the part is the whole.
    """
    if not is_split(parameter):
        return part
    return _with_part(parameter, part, parameter.device_mesh).full_tensor()


def cut_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """Of a tensor that each process has whole, the own part as that of a parameter is split."""
    if not is_split(parameter):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    places = (parameter.device_mesh, parameter.placements)
    return distribute_tensor(tensor, *places, src_data_rank=None).to_local()


def _with_part(tensor: Tensor, part: Tensor, mesh: DeviceMesh) -> Tensor:
    """A split tensor as another is, with another part in this process."""
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(
        part,
        mesh,
        tensor.placements,
        run_check=False,
        shape=tensor.shape,
        stride=tensor.stride(),
    )


def kept_mib(
    model: Model, optimizer: torch.optim.Optimizer, averages: Iterable[Tensor] = ()
) -> float:
    """MiB of parameters, gradients, optimiser state and averages that this process keeps."""
    kept = [*averages]
    for parameter in model.parameters():
        kept.append(parameter)
        if parameter.grad is not None:
            kept.append(parameter.grad)
        kept += optimizer.state.get(parameter, {}).values()
    return sum(own_part(tensor).nbytes for tensor in kept) / 2**20


# ---------------------------------------------------------------------------------------- gradients


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Scale gradients down to a norm, which is that of all of them in all processes; returns it.

    Squares are added in float64, so that in float32 all are scaled alike, split or not.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return torch.zeros(())
    split = [own_part(gradient) for gradient in gradients if is_split(gradient)]
    whole = [gradient for gradient in gradients if not is_split(gradient)]
    square = _sum_of_squares(whole)
    if split:
        square_of_parts = _sum_of_squares(split)
        dist.all_reduce(square_of_parts)
        square = square + square_of_parts
    norm = square.sqrt()
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_([*split, *whole], factor.to(gradients[0].dtype))
    return norm


def _sum_of_squares(tensors: list[Tensor]) -> Tensor:
    """The sum of the squares of all numbers of some tensors, in float64."""
    if not tensors:
        return torch.zeros((), dtype=torch.float64)
    return torch.stack(torch._foreach_norm(tensors, dtype=torch.float64)).square().sum()


# -------------------------------------------------------------------------------------- checkpoints


def write_parts(folder: Path, tensors: Mapping[str, Tensor], sharding: Sharding) -> None:
    """Write a folder of safetensors files, one a process; all processes call this together.

    The folder is made; who calls gives it its name once it is whole.
    """
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.api import CheckpointException

    if sharding.writing.get_rank() == 0:
        shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    writer = dcp.HuggingFaceStorageWriter(str(folder), save_distributed=True)
    try:
        dcp.save(dict(tensors), storage_writer=writer, process_group=sharding.writing.get_group())
    except CheckpointException as error:
        reasons = {f"process {rank}: {failure[0]}" for rank, failure in error.failures.items()}
        raise InputError(
            f"{folder} could not be written ({'; '.join(sorted(reasons))}): free some space and "
            "start the same command again, it goes on from the last checkpoint"
        ) from None


def read_parts(
    folder: Path,
    parameters: Mapping[str, Tensor] | None = None,
    sharding: Sharding | None = None,
    prefix: str | tuple[str, ...] = "",
) -> dict[str, Tensor]:
    """Tensors of such a folder on the CPU, those whose name begins with a prefix, or one of some.

    Whole, or where names stand among split `parameters` the own part.
    """
    import torch.distributed.checkpoint as dcp
    from torch.distributed.tensor import zeros

    reader = dcp.HuggingFaceStorageReader(str(folder))
    tensors = {}
    for name, stored in reader.read_metadata().state_dict_metadata.items():
        if not name.startswith(prefix):
            continue
        parameter = (parameters or {}).get(name)
        if sharding is not None and parameter is not None and parameter.shape == stored.size:
            places = {"device_mesh": sharding.writing, "placements": parameter.placements}
            tensors[name] = zeros(stored.size, dtype=stored.properties.dtype, **places)
        else:
            tensors[name] = torch.empty(stored.size, dtype=stored.properties.dtype)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled")  # it is meant so
        dcp.load(tensors, storage_reader=reader, no_dist=True)
    return tensors
