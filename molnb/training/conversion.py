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
from ..models.model import Model
from ..models.unimol2.config import REFERENCE, TwoTrackConfig
from ..models.unimol2.official import ReferenceModel, reference_names, to_molnb_name
from ..models.unimol2.sizes import count_parameters, find_scale, spoken
from ..paths import home
from .checkpoints import write_weights
from .config import RunConfig
from .runs import find_run, make_model, start_run

ASIDE = "official.safetensors"  # tensors of the checkpoint that the encoder does not have
RECORD = "official.json"
_BUFFERS = {"se3_invariant_kernel.gaussian.mean": "kernel.mean"}
_HEAD = "lm_head."
_N_KERNEL = 128  # fixed in the authors' code
# What shapes cannot tell, and what molnb's distance kernel takes for granted.
_KERNEL_ARGUMENTS = {
    "gaussian_std_width": 1.0,
    "gaussian_mean_start": 0.0,
    "gaussian_mean_stop": 9.0,
}
_WIDTHS = {
    "encoder_layers": "n_layer", "encoder_embed_dim": "d_atom", "encoder_attention_heads": "n_head",
    "encoder_ffn_embed_dim": "d_ffn", "pair_embed_dim": "d_pair", "pair_hidden_dim": "d_hidden",
}  # fmt: skip


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


# ---------------------------------------------------------------------------------------- to a run


def from_checkpoint(file: str | Path, out: str | Path) -> Converted:
    """A run in the new folder `out` with the encoder of a checkpoint; what has no place in it is
    kept beside it.
    """
    out = _new(out)
    checkpoint = read_checkpoint(file)
    config = infer_config(checkpoint)
    scale = find_scale(config)
    name = f"unimol2-{scale or 'official'}"
    settings = RunConfig(name=name, data=("converted",), model=config, steps=1, warmup_steps=0)
    model = make_model(settings)
    aside = _fill(model, checkpoint)
    run = start_run(settings, out)
    fresh = not any(k.startswith(_HEAD) for k in checkpoint.tensors)
    dtypes = {
        k: str(v.dtype).removeprefix("torch.")
        for k, v in checkpoint.tensors.items()
        if v.dtype != torch.float32
    }
    record = {"file": Path(file).name, "scale": scale, "lacked_token_head": fresh, "dtypes": dtypes}
    write_json(record, run.path / RECORD)
    if aside:
        with writing(run.path / ASIDE) as partial:
            save_file({k: v.contiguous() for k, v in aside.items()}, partial)
    write_weights(run, model)
    run.write_status(state="done", step=0, steps=0)
    return Converted(run.path, tuple(_notes(config, scale, fresh, aside, checkpoint)))


def _fill(model: Model, checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Copy a checkpoint's tensors into the encoder; returns those of fine-tuning heads, which it
    does not have.
    """
    expected = {
        k.removeprefix("encoder."): v
        for k, v in model.state_dict().items()
        if k.startswith("encoder.")
    }
    ours, aside = {}, {}
    for name, tensor in checkpoint.tensors.items():
        own = _own_name(name)
        if own is None and name.startswith("classification_heads."):
            aside[name] = tensor
            continue
        if own not in expected:
            raise InputError(
                f"Uni-Mol2 has no tensor {name!r}: is this another model's checkpoint?"
            )
        if tensor.shape != expected[own].shape:
            shapes = (
                f"{tuple(tensor.shape)}, the other tensors ask for {tuple(expected[own].shape)}"
            )
            raise InputError(
                f"{name} has shape {shapes}: the checkpoint is damaged, fetch it again"
            )
        ours[own] = tensor
    # a checkpoint without masked-token loss has no token head; half a head is damage
    headless = not any(k.startswith("token_head.") for k in ours)
    missing = [
        k for k in expected if k not in ours and not (headless and k.startswith("token_head."))
    ]
    if missing:
        theirs = _their_names(model.encoder.config)[missing[0]]
        raise InputError(f"the weights lack {theirs!r}: give a whole checkpoint of Uni-Mol2")
    _check_means(model, ours["kernel.mean"])
    model.encoder.load_state_dict(expected | ours)
    return aside


def _own_name(name: str) -> str | None:
    try:
        return to_molnb_name(name)
    except KeyError:  # a layer of this name is not in the model
        return None


def _their_names(config: TwoTrackConfig) -> dict[str, str]:
    """Our names of the encoder's tensors to the authors'."""
    with torch.device("meta"):
        names = reference_names(ReferenceModel(config, {})) | _BUFFERS
    return {own: theirs for theirs, own in names.items()}


def _check_means(model: Model, means: Tensor) -> None:
    expected = model.encoder.kernel.mean
    if not torch.allclose(means.float(), expected, atol=0.05):
        raise InputError(
            f"the distance kernel stands at {means[0]:.3g} to {means[-1]:.3g}, where molnb's spans "
            f"{expected[0]:.3g} to {expected[-1]:.3g}: this checkpoint was trained with other settings of it"
        )


def _notes(
    config: TwoTrackConfig, scale: str | None, fresh: bool, aside: dict, checkpoint: Checkpoint
):
    n, total = count_parameters(config)
    named = f"Uni-Mol2 {spoken(scale)}" if scale else "a Uni-Mol2 of no published size"
    widths = f"{config.n_layer} layers, atoms {config.d_atom}, {config.n_head} heads, pairs {config.d_pair}"
    yield f"{named}: {widths}; N {n:,}, in all {total:,} parameters; conventions of the reference"
    if fresh:
        yield "it has no lm_head: the head that names masked atoms has random weights, embeddings do not use it"
    heads = sorted({name.split(".")[1] for name in aside})
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


# ---------------------------------------------------------------------------------------- and back


def to_checkpoint(run: str | Path, out: str | Path) -> Converted:
    """A run's encoder as a file that the authors' code loads: ``{"model": ..., "args": ...}`` under
    its names.

    Of a run that was converted, fine-tuning heads and number formats come back too, bit for bit.
    Raises InputError for a run under other conventions than the reference's, or with another number
    of Gaussians than its fixed 128.
    """
    out, found = _new(out), find_run(run)
    config = found.config.model
    if config.conventions != REFERENCE:
        raise InputError(
            f"{found.path} has the conventions {config.conventions.name!r}, and the authors' code would read its "
            "weights under its own: only runs that began with converted weights (conventions 'reference') go back"
        )
    if config.n_kernel != _N_KERNEL or config.hydrogens:
        here = f"here {config.n_kernel} and hydrogens {config.hydrogens}"
        raise InputError(
            f"{found.path}: the authors' model has {_N_KERNEL} Gaussians and no hydrogens, {here}"
        )
    model = found.load_model()
    record = found._json(RECORD)
    tensors = _their_tensors(model, record)
    aside = found.path / ASIDE
    tensors |= load_file(aside) if aside.exists() else {}
    widths = {theirs: getattr(config, ours) for theirs, ours in _WIDTHS.items()}
    with writing(out) as partial:
        torch.save(
            {"model": tensors, "args": argparse.Namespace(arch="unimol2", **widths)}, partial
        )
    heads = ", ".join(sorted(model.heads)) if len(model.heads) else ""
    left_out = (
        (f"left out: molnb's heads {heads}, which the authors' model does not have",)
        if heads
        else ()
    )
    return Converted(out, (f"{len(tensors)} tensors under the authors' names", *left_out))


def _their_tensors(model: Model, record: dict) -> dict[str, Tensor]:
    names, found = _their_names(model.encoder.config), {}
    for own, tensor in model.encoder.state_dict().items():
        theirs = names[own]
        if not (record.get("lacked_token_head") and theirs.startswith(_HEAD)):
            found[theirs] = tensor.to(
                getattr(torch, record.get("dtypes", {}).get(theirs, "float32"))
            ).clone()
    return found
