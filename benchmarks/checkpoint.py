"""A small checkpoint written by the authors' own training code: arguments, optimiser and training
state included.

    python benchmarks/checkpoint.py --reference Uni-Mol --core Uni-Core --out tests/fixtures/checkpoint.pt.gz

Two steps of Uni-Core's `Trainer` on three molecules, then its `save_checkpoint`.
`tests/test_convert.py` reads what it wrote. Uni-Core needs lmdb, tokenizers, ml_collections, iopath
and tensorboardX here.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import sys
import tempfile
from pathlib import Path

import agreement
import reference as theirs
import torch

WIDTHS = {
    "encoder-layers": 2,
    "encoder-embed-dim": 8,
    "encoder-attention-heads": 2,
    "encoder-ffn-embed-dim": 8,
    "pair-embed-dim": 4,
    "pair-hidden-dim": 2,
}
OPTIONS = """--task pretrain_here --arch unimol2 --loss unimol2 --optimizer adam --lr 1e-4 --adam-eps 1e-6
--lr-scheduler polynomial_decay --warmup-updates 10 --total-num-update 100 --clip-norm 1.0 --weight-decay 1e-4
--batch-size 4 --seed 1 --cpu --masked-token-loss 1 --masked-coord-loss 1 --masked-dist-loss 1"""


def make_trainer(uni_mol: Path, uni_core: Path):
    """Uni-Core's trainer with a tiny model, configured through its own command line."""
    core = theirs.package_folder(uni_core, "unicore", "Uni-Core")
    sys.path.insert(0, str(core.parent))
    importlib.import_module("unicore")  # the whole package: its trainer needs most of it
    options, tasks = (importlib.import_module(f"unicore.{name}") for name in ("options", "tasks"))
    theirs.make_packages(theirs.package_folder(uni_mol, "unimol2", "Uni-Mol"), core)
    for name in ("models", "losses"):
        importlib.import_module(f"unimol2.{name}.unimol2")

    class Task(tasks.UnicoreTask):
        seed, dictionary = 1, None

        @classmethod
        def setup_task(cls, args, **_):
            return cls(args)

    tasks.register_task("pretrain_here")(Task)
    given = OPTIONS.split() + [
        text for name, value in WIDTHS.items() for text in (f"--{name}", str(value))
    ]
    args = options.parse_args_and_arch(options.get_training_parser("pretrain_here"), given)
    task = tasks.setup_task(args)
    torch.manual_seed(1)
    model, loss = task.build_model(args), task.build_loss(args)
    trainer = importlib.import_module("unicore.trainer").Trainer(args, task, model, loss)
    trainer._total_train_steps = 100
    return trainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    theirs.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.pt.gz")
    parser.add_argument("--molecules", type=Path, default=agreement.NCI, metavar="SMI")
    args = parser.parse_args()
    trainer = make_trainer(args.reference, args.core)
    smiles = agreement.read_smiles(args.molecules, 3, (1, 12))
    batch = theirs.make_batch(agreement.ask(smiles, "pretrain", 0))
    with importlib.import_module("unicore.logging.metrics").aggregate("train"):
        for _ in range(2):
            trainer.train_step([{"batched_data": batch}])
    # what its checkpoint_utils adds when a training run saves
    where = {"version": 2, "epoch": 1, "iterations_in_epoch": 2, "shuffle": True, "len": 2}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "checkpoint.pt"
        trainer.save_checkpoint(str(file), {"train_iterator": where, "val_loss": 1.0, "best": 1.0})
        args.out.write_bytes(gzip.compress(file.read_bytes(), 9, mtime=0))
    print(f"{args.out}: {args.out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
