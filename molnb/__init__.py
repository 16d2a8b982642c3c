"""molnb: molecular pretraining in notebooks, from a list of SMILES to a pretrained model.

Every box a noun, every arrow a verb, both importable from here:

     data_recipes/nci.yaml       Recipe        which molecules, from where, which labels, in which unit
            | curate()                         read, standardise, deduplicate, embed conformers, label, split
     data/nci-1f3a9c02/          Shards        what we got; the manifest counts every loss, with its reason
            | batches()
     MolBatch                    atoms, bonds, coordinates, labels on one device
            | model(batch)
     Prediction                  atom track, pair track, molecule; one head per question
            | objective(model, batch)
     loss, terms                 one number to minimise, named terms with units to read
            | train()
     runs/<date>_<name>_<id>/    Run           config, machine, metrics, weights
            | embed(), predict(), plot_*()
     tables and figures

In a notebook: ``from molnb import load_recipe, curate, load_shards, make_preset, train, fit,
load_run, load_runs``, and the ``plot_*`` functions of molnb.figures. Each stage is a module
(molnb.recipes, molnb.curate, molnb.batches, ...); an import only points upstream. Units: energies
eV, lengths Å, charges e, dipoles D.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# How long a thread of torch's waits at full speed for the next piece of work before it sleeps (GNU
# OpenMP, read when torch loads). Its default makes a training step ten times slower on a machine
# that others use too; never to wait makes small models half as fast on one that is free.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

# Name -> module that defines it. Resolved on first use, so that `import molnb` costs nothing and a
# machine without RDKit or plotly can still use the rest.
_WHERE = {
    "InputError": "errors",
    "Recipe": "recipes.schema",
    "load_recipe": "recipes.registry",
    "list_recipes": "recipes.registry",
    "Shards": "shards",
    "load_shards": "shards",
    "curate": "curation.pipeline",
    "data_card": "curation.datacard",
    "MolBatch": "data.batch",
    "Run": "training.runs",
    "load_runs": "training.runs",
    "runs_table": "training.runs",
    "PRESETS": "training.presets",
    "train": "training.loop",
    "fit": "training.loop",
    "training_steps": "training.loop",
    "make_preset": "training.presets",
    "load_run": "inference.predictor",
    "write_embeddings": "inference.parquet_output",
    "write_predictions": "inference.parquet_output",
    "show_table": "figures.tables",
    "LiveCurve": "figures.live_curve",
    "draw_molecules": "figures.grid",
    "headline": "notebooks.headlines",
    "run_notebook": "notebooks.execution",
    "tour": "notebooks.execution",
    "plot_losses": "figures.curves",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_WHERE[name]}", __name__), name)
    globals()[name] = value
    return value
