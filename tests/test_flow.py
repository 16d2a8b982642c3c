"""The flow that `help(molnb)` prints is the code: all names exist, and the steps run in order."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from tiny import TINY

import molnb


def names_in_the_flow() -> set[str]:
    """Nouns and verbs of the docstring: words in capitals, and words before a parenthesis."""
    text = molnb.__doc__.split("\n\n")[2]
    nouns = re.findall(r"\b(?:[A-Z][a-z]+){1,3}\b", text)
    verbs = re.findall(r"\b([a-z_]+)\(", text)
    return {*nouns, *verbs} - {"DataFrames", "Frames", "Data", "model", "objective"}


@pytest.mark.parametrize("name", sorted(names_in_the_flow()))
def test_every_noun_and_verb_of_the_flow_can_be_imported(name: str) -> None:
    assert name in molnb.__all__
    assert getattr(molnb, name) is not None


def test_the_flow_has_all_its_boxes() -> None:
    boxes = {"Recipe", "Shards", "MolBatch", "Prediction", "Run"}
    arrows = {"curate", "batches", "train", "embed", "predict", "evaluate", "compare"}
    assert boxes | arrows < names_in_the_flow()


def test_public_names_are_completed_and_there_is_no_other_of_the_name() -> None:
    assert set(molnb.__all__) <= set(dir(molnb))
    for name in molnb.__all__:
        value = getattr(molnb, name)
        assert getattr(value, "__name__", name) == name, f"{name} is defined under another name"
    with pytest.raises(AttributeError, match="has no attribute 'curated'"):
        molnb.curated  # noqa: B018


def test_the_flow_runs_from_recipe_to_tables(nci, tmp_path) -> None:
    recipe = molnb.load_recipe("nci")
    assert isinstance(recipe, molnb.Recipe) and isinstance(nci, molnb.Shards)
    batch = next(iter(molnb.batches(nci, tasks=["nci_dipole"])))
    assert isinstance(batch, molnb.MolBatch)
    settings = {"steps": 2, "n_val": 4}
    config = molnb.RunConfig("flow", (str(nci.path),), TINY, global_batch=8, **settings)
    model = molnb.make_model(config)
    prediction = model(batch)
    assert isinstance(prediction, molnb.Prediction) and isinstance(model, molnb.Model)
    loss, terms = config.objective(model, batch)
    assert loss.requires_grad and "token_ce_nats" in terms
    assert float(loss.detach()) == pytest.approx(
        terms["token_ce_nats"] + terms["coord_l1_angstrom"] + terms["distance_l1_angstrom"]
    )
    labels = molnb.Supervised(("nci_dipole",))
    supervised = molnb.RunConfig("labels", config.data, TINY, labels, **settings)
    run = molnb.train(supervised, tmp_path / "run")
    assert isinstance(run, molnb.Run) and run.state == "done"
    vectors = molnb.embed(run.path, ["CCO", "CCN"])
    assert vectors.shape == (2, 16) and np.isfinite(vectors).all()
    table = molnb.predict(run.path, ["CCO", "C("])
    assert isinstance(table, pd.DataFrame) and list(table) == ["smiles", "dipole_D", "error"]
    assert table["error"].isna().tolist() == [True, False]
    scores = molnb.evaluate(run, baselines=False, n_draw=10, progress=False)
    assert scores["label"].tolist() == ["dipole"] and scores["mae"].item() > 0
    assert molnb.plot_losses([run]).data
