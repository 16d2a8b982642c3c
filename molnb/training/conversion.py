"""Official weights: a checkpoint of the authors' code as a run of ours, and back.

The public release lies at https://huggingface.co/dptech/Uni-Mol2 (``modelzoo/84M/checkpoint.pt``
and so on). A run made from it keeps ``Conventions`` ``REFERENCE``, under which it was trained, and
is used like any other: `load_run`, `embed`, ``start_from``.

A PyTorch checkpoint is a pickle, and a pickle may hold any program. Here only tensors, plain
containers, numbers, text and ``argparse.Namespace`` are built; a file that names anything else is
refused and nothing of it runs.
"""

from __future__ import annotations

import argparse
import os
import pickle
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import InputError
from ..files import check_output, write_json, writing
from ..models.families import count_parameters
from ..models.model import Model
from ..models.unimol2.config import REFERENCE, TwoTrackConfig
from ..models.unimol2.official import (
    CLASSIFICATION,
    ReferenceModel,
    reference_names,
    to_molnb_name,
)
from ..models.unimol2.sizes import find_paper_size, readable_size
from ..paths import find_run_folder
from .checkpoints import write_weights
from .config import RunConfig
from .runs import Run, find_run, make_model, start_run

ASIDE = "official.safetensors"  # tensors of the checkpoint that molnb's model does not have
RECORD = "official.json"
_BUFFERS = {"se3_invariant_kernel.gaussian.mean": "encoder.kernel.mean"}
_TOKEN_HEAD = "lm_head."  # how its names begin in the authors' code, and in molnb's
_MOLNB_TOKEN_HEAD = "heads.tokens."
_MAX_HEAVY_ATOMS = 256  # to which the authors' training crops molecules
_N_KERNEL = 128  # fixed in the authors' code
# What shapes cannot tell, and what molnb's distance kernel takes for granted.
_KERNEL_ARGUMENTS = {
    "gaussian_std_width": 1.0,
    "gaussian_mean_start": 0.0,
    "gaussian_mean_stop": 9.0,
}
_WIDTHS = {
    "encoder_layers": "n_layer",
    "encoder_embed_dim": "d_atom",
    "encoder_attention_heads": "n_head",
    "encoder_ffn_embed_dim": "d_ffn",
    "pair_embed_dim": "d_pair",
    "pair_hidden_dim": "d_hidden",
}


class OfficialCheckpoint(NamedTuple):
    """A file of the authors' code: tensors under its names, and the arguments it was made with.

    `ignored` names what else the file holds.
    """

    tensors: dict[str, Tensor]
    arguments: dict
    ignored: tuple[str, ...]


class Converted(NamedTuple):
    """The run or checkpoint that was made, and what people should know of it, a sentence each."""

    path: Path
    notes: tuple[str, ...]


def convert(source: str | Path, out: str | Path) -> Converted:
    """A checkpoint file as a run in a new folder, or a run as a checkpoint in a new file."""
    folder = find_run_folder(source)
    return to_checkpoint(folder, out) if folder.is_dir() else from_checkpoint(source, out)


# ---------------------------------------------------------------------------------------- reading


@contextmanager
def _only_namespace() -> Iterator[None]:
    """Within the block torch builds nothing but its own short list and argparse.Namespace.

    What a program has admitted before does not count, and is admitted again afterwards.
    """
    admitted_before = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            yield
    finally:
        torch.serialization.add_safe_globals(admitted_before)


def read_checkpoint(file: str | Path) -> OfficialCheckpoint:
    """The tensors and arguments of a file that holds ``{"model": ...}``, or tensors alone.

    A ``module.`` before the names of tensors, as parallel training leaves it, is taken off. Raises
    InputError for a file that is not there, not whole, not a checkpoint, or that asks for more than
    tensors.
    """
    file = Path(file)
    if not file.is_file():
        raise InputError(
            f"no file {file}: give a checkpoint.pt, or the folder of a run to convert back"
        )
    try:
        with _only_namespace():
            stored = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can fail in any way
        raise _refusal(file, error) from None
    state = stored.get("model", stored) if isinstance(stored, dict) else None
    if not isinstance(state, dict) or not state or not _all_tensors(state):
        raise InputError(
            f'{file} holds no model: give a file with {{"model": tensors by name}}, or the tensors '
            "themselves"
        )
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in state.items()}
    if state is stored:
        return OfficialCheckpoint(tensors, {}, ())
    arguments = stored.get("args")
    if isinstance(arguments, argparse.Namespace):
        arguments = vars(arguments)
    if not isinstance(arguments, dict):
        arguments = {}
    ignored = tuple(str(name) for name in stored if name != "model")
    return OfficialCheckpoint(tensors, arguments, ignored)


def _all_tensors(state: dict) -> bool:
    return all(isinstance(value, Tensor) for value in state.values())


def _refusal(file: Path, error: Exception) -> InputError:
    """Why a file could not be read: it asks for what could run code, or is no whole checkpoint."""
    global_name = re.search(
        r"(?:GLOBAL|global:?|class|instance of type) ([\w.]+\.[\w.]+)", str(error)
    )
    if isinstance(error, pickle.UnpicklingError) and global_name:
        return InputError(
            f"{file} asks for {global_name[1]}, which could run code: only tensors and "
            "argparse.Namespace are admitted, and nothing was run. Take the file from its authors, "
            'or have its owner save {"model": model.state_dict()} anew'
        )
    text = str(error).partition("WeightsUnpickler error:")[2] or str(error) or type(error).__name__
    reason = text.strip().splitlines()[0][:160]
    if not any(map(str.isalpha, reason)):  # a stray byte of a pickle
        reason = "it was not written by torch.save"
    size = f"{file.stat().st_size:,} bytes"
    return InputError(
        f"{file} ({size}) is no readable checkpoint ({reason}): fetch it again, it may have been "
        "cut short"
    )


def infer_config(checkpoint: OfficialCheckpoint) -> TwoTrackConfig:
    """The configuration of a checkpoint, from the shapes of its tensors.

    Dropout, which shapes cannot tell, comes from the arguments where there are any. Raises
    InputError where a tensor is missing that tells a width, or where the arguments contradict the
    shapes.
    """
    layers = []
    for name in checkpoint.tensors:
        layer = re.match(r"encoder\.layers\.(\d+)\.", name)
        if layer:
            layers.append(int(layer[1]))
    if not layers:
        raise InputError(
            "the checkpoint has no encoder.layers: it is not of Uni-Mol2 (Uni-Mol 1 has another "
            "model, and molnb does not read it); give a checkpoint of "
            "https://huggingface.co/dptech/Uni-Mol2"
        )

    def size(name: str, axis: int) -> int:
        if name not in checkpoint.tensors:
            raise InputError(f"the weights lack {name!r}: give a whole checkpoint of Uni-Mol2")
        return checkpoint.tensors[name].shape[axis]

    arguments = checkpoint.arguments
    config = TwoTrackConfig(
        n_layer=max(layers) + 1,
        d_atom=size("embed_tokens.weight", 1),
        n_head=size("encoder.layers.0.self_attn.linear_bias.weight", 0),
        d_ffn=size("encoder.layers.0.ffn.linear_1.weight", 0),
        d_pair=size("edge_feature.edge_encoder.weight", 1),
        d_hidden=size("encoder.layers.0.opm.linear_in.weight", 0) // 2,
        n_kernel=size("se3_invariant_kernel.gaussian.mean", 0),
        dropout=float(arguments.get("dropout", 0.1)),
        attention_dropout=float(arguments.get("attention_dropout", 0.1)),
        conventions=REFERENCE,
    )
    contradictions = []
    for name, field in _WIDTHS.items():
        value = arguments.get(name)
        if isinstance(value, int) and value != getattr(config, field):
            contradictions.append(f"{name}={value}")
    for name, expected in _KERNEL_ARGUMENTS.items():
        if arguments.get(name, expected) != expected:
            contradictions.append(f"{name}={arguments[name]}")
    if contradictions:
        raise InputError(
            f"the checkpoint's arguments say {', '.join(contradictions)}, its tensors otherwise: "
            "it cannot be trusted"
        )
    return config


# ---------------------------------------------------------------------------------- to a run


def from_checkpoint(file: str | Path, out: str | Path) -> Converted:
    """A checkpoint as a run in the new folder `out`; what has no place in it is kept beside it."""
    out = _new(out)
    checkpoint = read_checkpoint(file)
    config = infer_config(checkpoint)
    scale = find_paper_size(config)
    name = f"unimol2-{scale or 'official'}"
    settings = RunConfig(name=name, data=("converted",), model=config, steps=1, warmup_steps=0)
    model = make_model(settings)
    left_over = _fill(model, checkpoint)
    run = start_run(settings, out, _MAX_HEAVY_ATOMS)
    headless = not any(name.startswith(_TOKEN_HEAD) for name in checkpoint.tensors)
    dtypes = {
        name: str(tensor.dtype).removeprefix("torch.")
        for name, tensor in checkpoint.tensors.items()
        if tensor.dtype != torch.float32
    }
    record = {"file": Path(file).name, "scale": scale, "dtypes": dtypes}
    write_json(record | {"lacked_token_head": headless}, run.path / RECORD)
    if left_over:
        with writing(run.path / ASIDE) as partial:
            save_file({name: part.contiguous() for name, part in left_over.items()}, partial)
    write_weights(model, run.path / "weights.safetensors")
    run.write_status(state="done", step=0, steps=0)
    return Converted(run.path, tuple(_notes(config, scale, headless, left_over, checkpoint)))


def _fill(model: Model, checkpoint: OfficialCheckpoint) -> dict[str, Tensor]:
    """Copy a checkpoint's tensors into a model; returns those of heads that it does not have.

    Those are the heads of the authors' fine-tuning.
    """
    expected = model.state_dict()
    renamed: dict[str, Tensor] = {}
    left_over: dict[str, Tensor] = {}
    for name, tensor in checkpoint.tensors.items():
        molnb_name = _molnb_name(name)
        if molnb_name is None and name.startswith(CLASSIFICATION):
            left_over[name] = tensor
            continue
        if molnb_name not in expected:
            raise InputError(
                f"Uni-Mol2 has no tensor {name!r}: is this another model's checkpoint?"
            )
        if tensor.shape != expected[molnb_name].shape:
            raise InputError(
                f"{name} has shape {tuple(tensor.shape)}, the other tensors ask for "
                f"{tuple(expected[molnb_name].shape)}: the checkpoint is damaged, fetch it again"
            )
        renamed[molnb_name] = tensor
    # a checkpoint without masked-token loss has no token head; half a head is damage
    headless = not any(name.startswith(_MOLNB_TOKEN_HEAD) for name in renamed)
    for molnb_name in expected:
        optional = headless and molnb_name.startswith(_MOLNB_TOKEN_HEAD)
        if molnb_name not in renamed and not optional:
            name = _official_names(model.encoder.config)[molnb_name]
            raise InputError(f"the weights lack {name!r}: give a whole checkpoint of Uni-Mol2")
    _check_means(model, renamed["encoder.kernel.mean"])
    model.load_state_dict(expected | renamed)
    return left_over


def _molnb_name(name: str) -> str | None:
    """molnb's name of a tensor; None where its model has no such tensor."""
    try:
        return to_molnb_name(name)
    except KeyError:  # a layer of this name is not in the model
        return None


def _official_names(config: TwoTrackConfig) -> dict[str, str]:
    """Names of the model's tensors to the authors'."""
    with torch.device("meta"):
        names = reference_names(ReferenceModel(config, {})) | _BUFFERS
    return {molnb_name: name for name, molnb_name in names.items()}


def _check_means(model: Model, means: Tensor) -> None:
    """Raise InputError unless the centres of a checkpoint's distance kernel are molnb's."""
    expected = model.encoder.kernel.mean
    if not torch.allclose(means.float(), expected, atol=0.05):
        raise InputError(
            f"the distance kernel stands at {means[0]:.3g} to {means[-1]:.3g}, where molnb's spans "
            f"{expected[0]:.3g} to {expected[-1]:.3g}: this checkpoint was trained with other "
            "settings of it"
        )


def _notes(
    config: TwoTrackConfig,
    scale: str | None,
    headless: bool,
    left_over: dict[str, Tensor],
    checkpoint: OfficialCheckpoint,
) -> Iterator[str]:
    """What people should know of a converted checkpoint, a sentence each."""
    n, total = count_parameters(config)
    model = f"Uni-Mol2 {readable_size(scale)}" if scale else "a Uni-Mol2 of no published size"
    yield (
        f"{model}: {config.n_layer} layers, atoms {config.d_atom}, {config.n_head} heads, pairs "
        f"{config.d_pair}; N {n:,}, in all {total:,} parameters; conventions of the reference"
    )
    if headless:
        yield (
            "it has no lm_head: the head that names masked atoms has random weights, embeddings do "
            "not use it"
        )
    heads = sorted({name.split(".")[1] for name in left_over})
    if heads:
        yield f"kept aside, not used by molnb: fine-tuning heads {', '.join(heads)}"
    if checkpoint.ignored:
        yield f"left out: {', '.join(checkpoint.ignored)}"


def _new(out: str | Path) -> Path:
    """The path to write to; raises InputError where something is there, or nothing can be."""
    out = Path(out)
    if os.path.lexists(out):
        raise InputError(
            f"{out} exists and would be overwritten: choose another name, or remove it"
        )
    check_output(out)
    return out


# ---------------------------------------------------------------------------------- and back


def to_checkpoint(run: str | Path, out: str | Path) -> Converted:
    """A run's encoder as a file that the authors' code loads: ``{"model": ..., "args": ...}``.

    Of a run that was converted, fine-tuning heads and number formats come back too, bit for bit. A
    run that learnt labels gets the masking heads of the run it started from. Raises InputError for
    a run under other conventions than the reference's, or with another number of Gaussians than its
    fixed 128.
    """
    out = _new(out)
    run = find_run(run)
    config = run.config.model
    conventions = getattr(config, "conventions", None)
    if conventions != REFERENCE:
        under = conventions.name if conventions else f"none: its family is {config.family}"
        raise InputError(
            f"{run.path} has the conventions {under!r}, and the authors' code would read its "
            "weights under its own: only runs that began with converted weights (conventions "
            "'reference') go back"
        )
    if config.n_kernel != _N_KERNEL or config.hydrogens:
        raise InputError(
            f"{run.path}: the authors' model has {_N_KERNEL} Gaussians and no hydrogens, here "
            f"{config.n_kernel} and hydrogens {config.hydrogens}"
        )
    model = run.load_model()
    tensors = _official_tensors(_with_masking_heads(run, model), config, run.read(RECORD))
    left_over = run.path / ASIDE
    if left_over.exists():
        tensors |= load_file(left_over)
    widths = {name: getattr(config, molnb_name) for name, molnb_name in _WIDTHS.items()}
    with writing(out) as partial:
        torch.save(
            {"model": tensors, "args": argparse.Namespace(arch="unimol2", **widths)}, partial
        )
    heads = sorted(set(model.heads) - {"tokens", "movement"})
    notes = [f"{len(tensors)} tensors under the authors' names"]
    if heads:
        notes.append(
            f"left out: molnb's heads {', '.join(heads)}, which the authors' model does not have"
        )
    return Converted(out, tuple(notes))


def _with_masking_heads(run: Run, model: Model) -> dict[str, Tensor]:
    """Tensors of a run's model; masking heads that it lacks come from the run it started from."""
    tensors = dict(model.state_dict())
    while "tokens" not in model.heads and run.config.start_from:
        run = find_run(run.config.start_from)
        model = run.load_model()
        state = model.state_dict()
        heads = {name: tensor for name, tensor in state.items() if name.startswith("heads.")}
        tensors = heads | tensors
    return tensors


def _official_tensors(
    tensors: dict[str, Tensor], config: TwoTrackConfig, record: dict
) -> dict[str, Tensor]:
    """A model's tensors under the authors' names, in the number formats they came in."""
    dtypes = record.get("dtypes", {})
    renamed = {}
    for molnb_name, name in _official_names(config).items():
        if molnb_name not in tensors:
            continue
        if record.get("lacked_token_head") and name.startswith(_TOKEN_HEAD):
            continue
        dtype = getattr(torch, dtypes.get(name, "float32"))
        renamed[name] = tensors[molnb_name].to(dtype).clone()
    return renamed
