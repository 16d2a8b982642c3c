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
from ..files import write_json, writing
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
from ..paths import home
from .checkpoints import write_weights
from .config import RunConfig
from .runs import Run, find_run, make_model, start_run

ASIDE = "official.safetensors"  # tensors of the checkpoint that molnb's model does not have
RECORD = "official.json"
_BUFFERS = {"se3_invariant_kernel.gaussian.mean": "encoder.kernel.mean"}
_TOKEN_HEAD = "lm_head."  # how its names begin in the authors' code, and in molnb's
_OWN_TOKEN_HEAD = "heads.tokens."
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


class Checkpoint(NamedTuple):
    """What a file of the authors' code holds: tensors by its names, its arguments, and the names
    of all the rest.
    """

    tensors: dict[str, Tensor]
    arguments: dict
    ignored: tuple[str, ...]


class Converted(NamedTuple):
    """Where the result is, and what people should know about it, a sentence each."""

    path: Path
    notes: tuple[str, ...]


def convert(source: str | Path, out: str | Path) -> Converted:
    """A checkpoint file as a run in the new folder `out`, or a run's folder as a checkpoint in
    the new file `out`.
    """
    source = Path(source)
    is_run = source.is_dir() or not source.exists() and (home() / "runs" / source).is_dir()
    return to_checkpoint(source, out) if is_run else from_checkpoint(source, out)


# ---------------------------------------------------------------------------------------- reading


@contextmanager
def _only_namespace() -> Iterator[None]:
    """Nothing but torch's own short list and argparse.Namespace may be built, whatever was
    admitted elsewhere.
    """
    others = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            yield
    finally:
        torch.serialization.add_safe_globals(others)


def read_checkpoint(file: str | Path) -> Checkpoint:
    """Tensors of ``{"model": ...}`` or of a bare state dictionary, without ``module.`` before their
    names.

    Raises InputError for a file that is not there, not whole, not a checkpoint, or that asks for
    more than tensors.
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
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(v, Tensor) for v in state.values())
    ):
        raise InputError(
            f'{file} holds no model: give a file with {{"model": tensors by name}}, or the tensors themselves'
        )
    tensors = {str(name).removeprefix("module."): tensor for name, tensor in state.items()}
    if state is stored:
        return Checkpoint(tensors, {}, ())
    given = stored.get("args")
    arguments = (
        vars(given)
        if isinstance(given, argparse.Namespace)
        else given
        if isinstance(given, dict)
        else {}
    )
    return Checkpoint(tensors, arguments, tuple(str(k) for k in stored if k != "model"))


def _refusal(file: Path, error: Exception) -> InputError:
    """Why a file could not be read: it asks for something that could run, or it is no whole
    checkpoint.
    """
    asked = re.search(r"(?:GLOBAL|global:?|class|instance of type) ([\w.]+\.[\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and asked:
        return InputError(
            f"{file} asks for {asked[1]}, which could run code: only tensors and argparse.Namespace are admitted, and "
            'nothing was run. Take the file from its authors, or have its owner save {"model": model.state_dict()} anew'
        )
    text = str(error).partition("WeightsUnpickler error:")[2] or str(error) or type(error).__name__
    first = text.strip().splitlines()[0][:160]
    first = (
        first if any(map(str.isalpha, first)) else "it was not written by torch.save"
    )  # a stray byte of a pickle
    size = f"{file.stat().st_size:,} bytes"
    return InputError(
        f"{file} ({size}) is no readable checkpoint ({first}): fetch it again, it may have been cut short"
    )


def infer_config(checkpoint: Checkpoint) -> TwoTrackConfig:
    """Depth, widths and heads from the tensors' shapes; dropout from the arguments, where there are
    any.

    Raises InputError where a tensor is missing that tells a width, or where the arguments
    contradict the shapes.
    """
    layers = [
        int(m[1]) for k in checkpoint.tensors if (m := re.match(r"encoder\.layers\.(\d+)\.", k))
    ]
    if not layers:
        raise InputError(
            "the checkpoint has no encoder.layers: it is not of Uni-Mol2 (Uni-Mol 1 has another model, and molnb does "
            "not read it); give a checkpoint of https://huggingface.co/dptech/Uni-Mol2"
        )

    def size(name: str, axis: int) -> int:
        if name not in checkpoint.tensors:
            raise InputError(f"the weights lack {name!r}: give a whole checkpoint of Uni-Mol2")
        return checkpoint.tensors[name].shape[axis]

    given = checkpoint.arguments
    first = "encoder.layers.0"
    config = TwoTrackConfig(
        n_layer=max(layers) + 1,
        d_atom=size("embed_tokens.weight", 1),
        n_head=size(f"{first}.self_attn.linear_bias.weight", 0),
        d_ffn=size(f"{first}.ffn.linear_1.weight", 0),
        d_pair=size("edge_feature.edge_encoder.weight", 1),
        d_hidden=size(f"{first}.opm.linear_in.weight", 0) // 2,
        n_kernel=size("se3_invariant_kernel.gaussian.mean", 0),
        dropout=float(given.get("dropout", 0.1)),
        attention_dropout=float(given.get("attention_dropout", 0.1)),
        conventions=REFERENCE,
    )
    said = {name: given[name] for name in _WIDTHS if isinstance(given.get(name), int)}
    wrong = [
        f"{name}={value}" for name, value in said.items() if value != getattr(config, _WIDTHS[name])
    ]
    wrong += [f"{k}={given[k]}" for k, v in _KERNEL_ARGUMENTS.items() if given.get(k, v) != v]
    if wrong:
        raise InputError(
            f"the checkpoint's arguments say {', '.join(wrong)}, its tensors otherwise: it cannot be trusted"
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
    run = start_run(settings, out)
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
            save_file({name: t.contiguous() for name, t in left_over.items()}, partial)
    write_weights(model, run.path / "weights.safetensors")
    run.write_status(state="done", step=0, steps=0)
    return Converted(run.path, tuple(_notes(config, scale, headless, left_over, checkpoint)))


def _fill(model: Model, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Copy a checkpoint's tensors into a model; returns those of heads that it does not have.

    Those are the heads of the authors' fine-tuning.
    """
    expected = model.state_dict()
    renamed: dict[str, Tensor] = {}
    left_over: dict[str, Tensor] = {}
    for name, tensor in checkpoint.tensors.items():
        own_name = _own_name(name)
        if own_name is None and name.startswith(CLASSIFICATION):
            left_over[name] = tensor
            continue
        if own_name not in expected:
            raise InputError(
                f"Uni-Mol2 has no tensor {name!r}: is this another model's checkpoint?"
            )
        if tensor.shape != expected[own_name].shape:
            raise InputError(
                f"{name} has shape {tuple(tensor.shape)}, the other tensors ask for "
                f"{tuple(expected[own_name].shape)}: the checkpoint is damaged, fetch it again"
            )
        renamed[own_name] = tensor
    # a checkpoint without masked-token loss has no token head; half a head is damage
    headless = not any(name.startswith(_OWN_TOKEN_HEAD) for name in renamed)
    for own_name in expected:
        optional = headless and own_name.startswith(_OWN_TOKEN_HEAD)
        if own_name not in renamed and not optional:
            name = _official_names(model.encoder.config)[own_name]
            raise InputError(f"the weights lack {name!r}: give a whole checkpoint of Uni-Mol2")
    _check_means(model, renamed["encoder.kernel.mean"])
    model.load_state_dict(expected | renamed)
    return left_over


def _own_name(name: str) -> str | None:
    try:
        return to_molnb_name(name)
    except KeyError:  # a layer of this name is not in the model
        return None


def _official_names(config: TwoTrackConfig) -> dict[str, str]:
    """Names of the model's tensors to the authors'."""
    with torch.device("meta"):
        names = reference_names(ReferenceModel(config, {})) | _BUFFERS
    return {own_name: name for name, own_name in names.items()}


def _check_means(model: Model, means: Tensor) -> None:
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
    checkpoint: Checkpoint,
) -> Iterator[str]:
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
    out = Path(out)
    if out.exists():
        raise InputError(
            f"{out} exists and would be overwritten: choose another name, or remove it"
        )
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
            f"{run.path} has the conventions {under!r}, and the authors' code would read its weights "
            "under its own: only runs that began with converted weights (conventions 'reference') go "
            "back"
        )
    if config.n_kernel != _N_KERNEL or config.hydrogens:
        raise InputError(
            f"{run.path}: the authors' model has {_N_KERNEL} Gaussians and no hydrogens, here "
            f"{config.n_kernel} and hydrogens {config.hydrogens}"
        )
    model = run.load_model()
    tensors = _official_tensors(_with_masking_heads(run, model), config, run.read(RECORD))
    aside = run.path / ASIDE
    tensors |= load_file(aside) if aside.exists() else {}
    widths = {name: getattr(config, own_name) for name, own_name in _WIDTHS.items()}
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
    """Tensors of a run's model; masking heads that it lacks are those of the run it started
    from.
    """
    tensors = dict(model.state_dict())
    while "tokens" not in model.heads and run.config.start_from:
        run = find_run(run.config.start_from)
        model = run.load_model()
        heads = {k: v for k, v in model.state_dict().items() if k.startswith("heads.")}
        tensors = heads | tensors
    return tensors


def _official_tensors(
    tensors: dict[str, Tensor], config: TwoTrackConfig, record: dict
) -> dict[str, Tensor]:
    """A model's tensors under the authors' names, in the number formats they came in."""
    dtypes = record.get("dtypes", {})
    renamed = {}
    for own_name, name in _official_names(config).items():
        if own_name not in tensors:
            continue
        if record.get("lacked_token_head") and name.startswith(_TOKEN_HEAD):
            continue
        dtype = getattr(torch, dtypes.get(name, "float32"))
        renamed[name] = tensors[own_name].to(dtype).clone()
    return renamed
