"""molnb: molecular pretraining in notebooks, from a list of SMILES to a pretrained model.

Every box a noun, every arrow a verb, all of them importable from here:

     data_recipes/nci.yaml      Recipe   which molecules, from where, which labels, in which unit
            | curate(recipe)             standardize, deduplicate, embed conformers, label, split
     data/nci-1f3a9c02/         Shards   the manifest counts every loss, with its reason
            | batches(shards)
     MolBatch                            atoms, bonds, coordinates, labels on one device
            | model(batch)               make_model(config): a Model is an encoder and its heads
     Prediction                          encoding (molecules, atoms, bonds, pairs), heads' output
            | objective(model, batch)    Pretrain, Supervised
     loss, terms                         a number to minimise, named terms with units to read
            | train(config)              RunConfig, make_preset(name, data); fit(config) awaits
     runs/<date>_<name>_<id>/   Run      config, machine, metrics, weights
            | embed(run, molecules), predict(run, molecules), evaluate(run), compare(...)
     tables                              pandas DataFrames: show_table(table), plot_losses(runs)

The rooms of the package follow the flow: recipes, chemistry, curation (RDKit); data, models,
objectives, training (torch, numpy, pyarrow and safetensors alone); inference, evaluation, figures,
notebooks, commands. An import only points upstream. Units: energies eV, lengths Å, charges e,
dipoles D.
"""

from __future__ import annotations

from .first_use import NamesOnFirstUse

__version__ = "0.1.0"

# Module -> public names that it defines. They are imported on first use, so that `import molnb`
# costs nothing and a machine without RDKit or plotly can still use the rest.
_PUBLIC = {
    "errors": "InputError",
    "paths": "home",
    "shards": "Shards load_shards add_array",
    "recipes.schema": "Recipe",
    "recipes.registry": "load_recipe list_recipes",
    "recipes.catalogue.listing": "recipes_table",
    "recipes.catalogue.cards": "recipe_card",
    "recipes.sources": "recipe_for_file",
    "recipes.fetched.fetching": "fetch",
    "chemistry.conformer": "make_conformer mirror",
    "chemistry.ensembles": "make_ensemble",
    "curation.pipeline": "curate",
    "curation.smiles_corpus": "load_molecules query_molecules",
    "curation.scaffolds": "count_scaffolds",
    "curation.exporting.exports": "export_shards",
    "curation.datacard": "data_card lost_rows split_table",
    "data.batch": "MolBatch",
    "data.masked": "MaskedBatch",
    "data.dataset": "Corpus",
    "data.encodings.catalogue": "encode with_encodings",
    "data.encodings.padded": "pair_encoding",
    "data.encodings.stored": "keep_encodings",
    "data.sampling": "batches",
    "data.draws": "Sampling",
    "data.inspection": "inspect_shards",
    "data.verification": "verify_shards",
    "models.interface": "Encoder EncoderConfig Encoding",
    "models.families": "register_family",
    "models.model": "Model Prediction",
    "models.unimol2.config": "TwoTrackConfig",
    "models.graph.config": "GraphConfig",
    "objectives.pretraining": "Pretrain",
    "objectives.supervised": "Supervised",
    "training.config": "RunConfig",
    "training.runs": "Run make_model load_runs runs_table",
    "training.branches": "cool_downs",
    "training.account_table": "accounts_table",
    "training.presets": "PRESETS make_preset presets_table",
    "training.launched": "launch follow",
    "training.loop": "train fit training_steps",
    "training.sweeps": "Sweep make_sweep cool_down_sweep load_sweep",
    "training.sweep_runs": "run_sweep",
    "training.sweep_tables": "sweep_table by_setting",
    "training.tensorboard": "export_tensorboard",
    "training.conversion": "convert",
    "inference.featurizer": "featurize",
    "inference.predictor": "TrainedModel load_run embed predict",
    "inference.parquet_output": "write_embeddings write_predictions",
    "inference.denoising": "denoise",
    "evaluation.benchmark": "load_benchmark",
    "evaluation.folds": "make_folds random_folds",
    "evaluation.classical": "classical_methods",
    "evaluation.comparison": "compare",
    "evaluation.report": "comparison_table readable_table conclusions",
    "evaluation.studies.plans": "make_plan",
    "evaluation.studies.catalogue": "run_study",
    "evaluation.scaling.transfer": "transfer_points transfer_slope",
    "evaluation.run_scores": "evaluate predictions",
    "evaluation.scaling.points": "loss_points final_points later_points sizes_table",
    "evaluation.scaling.problem": "compute_frontier",
    "evaluation.scaling.fitting": "fit_law",
    "evaluation.scaling.bootstrap": "bootstrap_law",
    "evaluation.scaling.measures": "forecast_measures",
    "evaluation.scaling.holdout": "holdout_table",
    "evaluation.scaling.forecast": "write_prediction check_prediction",
    "evaluation.scaling.isoflop": "find_optima",
    "evaluation.scaling.advice": "advise",
    "evaluation.scaling.published": "published_predictions published_claims paper_compute",
    "figures.conformers": "plot_landscape plot_rmsd_map plot_discovery plot_points",
    "figures.curves": "plot_curves plot_losses",
    "figures.distributions": "plot_histograms plot_label_histograms plot_drops plot_shares",
    "figures.encodings": "draw_atom_values plot_walks",
    "figures.errors": "plot_differences plot_guesses plot_error_by_similarity",
    "figures.scaffolds": (
        "plot_top_scaffolds plot_rank_frequency plot_coverage plot_expected_scaffolds plot_overlap "
        "plot_sampling plot_seen"
    ),
    "figures.studies": "plot_learning_curves plot_changes plot_amounts plot_interference",
    "figures.sweeps": "plot_sweep",
    "figures.scaling": "plot_family plot_law plot_iso_flops plot_advice plot_transfer",
    "figures.scatter": "plot_parity plot_repeats plot_ratios plot_seeds plot_displaced",
    "figures.tracks": "plot_maps plot_stacks plot_moves",
    "figures.tables": "show_table",
    "figures.grid": "draw_molecules",
    "figures.label_figures": "plot_label_scores",
    "figures.live_curve": "LiveCurve",
    "figures.view3d": "show_molecule show_conformers compare_geometries",
    "notebooks.headlines": "headline",
    "notebooks.execution": "run_notebook tour",
}
_ON_FIRST_USE = NamesOnFirstUse(globals(), _PUBLIC)
__all__ = list(_ON_FIRST_USE.module_of)
__getattr__ = _ON_FIRST_USE.find
__dir__ = _ON_FIRST_USE.listing
