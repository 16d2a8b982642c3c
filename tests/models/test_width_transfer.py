"""Width transfer: what a step changes does not depend on the width, at one learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from laws import MOLECULES
from tiny import TINY, small_run

pytest.importorskip("torch_geometric")
pytest.importorskip("rdkit")
from molnb.data.masked import MaskedBatch, unmasked
from molnb.errors import InputError
from molnb.inference.featurizer import featurize, flat_batch
from molnb.models.families import build_encoder
from molnb.models.graph.config import WIDTHS, GraphConfig
from molnb.models.heads import make_label_head
from molnb.models.model import Model
from molnb.models.width_transfer import rate_factors
from molnb.objectives.supervised import Supervised
from molnb.training.loop import train

NARROW = GraphConfig(
    n_layer=3,
    d_input=16,
    d_atom=16,
    d_bond=8,
    d_input_hidden=16,
    d_bond_hidden=8,
    d_encoding=8,
    d_encoding_hidden=8,
    n_head=2,
    dropout=0.0,
    input_dropout=0.0,
    encoding_dropout=0.0,
)
TIMES = (1, 2, 4, 8)
LABELS = 3


BESIDE = {"print": 64}  # an array that a head may read, and its columns


def make_model(config: GraphConfig, beside: dict[str, int] | None = None) -> Model:
    encoder, _ = build_encoder(config)
    head = make_label_head(encoder, "molecule", LABELS, 2, 0.0, beside=beside)
    return Model(encoder, {"task": head})


def coordinates(model: Model, batch: MaskedBatch) -> list[torch.Tensor]:
    """Atoms after each layer, and the head's output, which comes last."""
    encoding = model.encoder(batch, keep_layers=True)
    output = model.heads["task"](encoding, torch.arange(batch.batch.n_mol), batch.batch)
    return [*(layer.atoms for layer in encoding.layers), output]


def changes(config: GraphConfig, seed: int, beside: dict[str, int] | None = None) -> list[float]:
    """How far four steps of Adam move each of the coordinates (root mean square)."""
    plain = flat_batch([featurize(smiles) for smiles in MOLECULES], False)
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(len(MOLECULES), LABELS, generator=generator)
    columns = torch.randn(len(MOLECULES), BESIDE["print"], generator=generator)
    batch = unmasked(plain.with_arrays("molecule", {"print": columns}))
    torch.manual_seed(seed)
    model = make_model(config, beside).eval()
    factors = {name: 1.0 for name, _ in model.named_parameters()}
    if config.width_transfer != 1:
        with torch.device("meta"):
            narrow = make_model(config.narrowed(config.width_transfer), beside)
        factors = rate_factors(model, narrow)
    groups = [{"params": [p], "lr": 3e-3 * factors[name]} for name, p in model.named_parameters()]
    optimizer = torch.optim.Adam(groups)
    before = [x.detach() for x in coordinates(model, batch)]
    for _ in range(4):
        optimizer.zero_grad()
        (coordinates(model, batch)[-1] - target).square().mean().backward()
        optimizer.step()
    with torch.no_grad():
        after = coordinates(model, batch)
    return [float((a - b).square().mean().sqrt()) for a, b in zip(before, after)]


def growth(layer: str, transfer: bool, beside: dict[str, int] | None = None) -> Sequence[float]:
    """The power of the width with which each coordinate's change grows, over three seeds."""
    rows = []
    for times in TIMES:
        widths = {name: getattr(NARROW, name) * times for name in WIDTHS}
        config = replace(NARROW, layer=layer, **widths)
        if transfer:
            config = replace(config, width_transfer=float(times))
        rows.append(np.mean([changes(config, seed, beside) for seed in range(3)], 0))
    return np.polyfit(np.log(TIMES), np.log(rows), 1)[0]


@pytest.mark.parametrize("layer", ["gine", "gated_gcn", "mpnn", "gps"])
def test_coordinates_move_alike_at_all_widths(layer: str) -> None:
    with_transfer = growth(layer, transfer=True)
    assert abs(with_transfer[-1]) < 0.2 and np.abs(with_transfer).max() < 0.35, with_transfer
    if layer == "gine":
        assert growth(layer, transfer=False)[-1] > 0.9, "the check can fail"


def test_a_head_that_reads_many_columns_beside_moves_alike_too() -> None:
    assert abs(growth("gine", transfer=True, beside=BESIDE)[-1]) < 0.2


def test_rates_fall_where_both_sides_of_a_matrix_grow() -> None:
    config = replace(NARROW, **{name: getattr(NARROW, name) * 2 for name in WIDTHS})
    config = replace(config, width_transfer=2.0)
    model = make_model(config)
    factors = rate_factors(model, make_model(config.narrowed(2.0)))
    assert factors["encoder.blocks.1.layer.network.0.linear.weight"] == 0.5
    assert factors["encoder.blocks.1.layer.network.0.linear.bias"] == 1
    assert factors["encoder.bonds.first.linear.weight"] == 1, "it reads features"
    # 16 encodings, which grow, before 85 features
    assert factors["encoder.atoms.first.linear.weight"] == (8 + 85) / (16 + 85)
    assert factors["heads.task.out.weight"] == 1 and model.heads["task"].divisor == 2


def test_a_run_says_at_which_rates_it_learns(nci, tmp_path, capsys) -> None:
    config = small_run(
        nci,
        model=replace(NARROW, width_transfer=2.0),
        objective=Supervised(("nci_dipole",)),
        steps=2,
    )
    run = train(config, tmp_path / "run")
    assert "Of the learning rate 0.001 parameters get 0.001 (" in capsys.readouterr().err
    assert any("0.0005 (" in note for note in run.read("notes.json"))


def test_widths_that_cannot_be_divided_and_other_families_are_refused(nci) -> None:
    with pytest.raises(InputError, match=r"width_transfer is 3.*d_input 16 cannot be divided"):
        small_run(nci, model=replace(NARROW, width_transfer=3.0))
    with pytest.raises(InputError, match=r"width_transfer is -2: give a number above 0"):
        small_run(nci, model=replace(NARROW, width_transfer=-2.0))
    with pytest.raises(InputError, match="family 'unimol2' have no width transfer"):
        small_run(nci, model=replace(TINY, width_transfer=2.0))
