r"""Writes a small checkpoint by the authors' own training code, with its training state.

    python benchmarks/checkpoint.py --reference Uni-Mol --core Uni-Core \
        --out tests/fixtures/checkpoint.pt.gz

Two steps of Uni-Core's `Trainer` on three molecules, then its `save_checkpoint`.
`tests/training/test_conversion.py` reads what it wrote. Uni-Core needs lmdb, tokenizers,
ml_collections, iopath and tensorboardX here.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import sys
import tempfile
from pathlib import Path

import agreement
import reference
import torch

from molnb.errors import InputError

WIDTHS = {
    "encoder-layers": 2,
    "encoder-embed-dim": 8,
    "encoder-attention-heads": 2,
    "encoder-ffn-embed-dim": 8,
    "pair-embed-dim": 4,
    "pair-hidden-dim": 2,
}
OPTIONS = """
--task pretrain_here --arch unimol2 --loss unimol2
--optimizer adam --lr 1e-4 --adam-eps 1e-6 --weight-decay 1e-4 --clip-norm 1.0
--lr-scheduler polynomial_decay --warmup-updates 10 --total-num-update 100
--batch-size 4 --seed 1 --cpu
--masked-token-loss 1 --masked-coord-loss 1 --masked-dist-loss 1
"""


def make_trainer(uni_mol: Path, uni_core: Path):
    """Uni-Core's trainer with a tiny model, configured through its own command line."""
    core = reference.package_folder(uni_core, "unicore", "Uni-Core")
    sys.path.insert(0, str(core.parent))
    importlib.import_module("unicore")  # the whole package: its trainer needs most of it
    options = importlib.import_module("unicore.options")
    tasks = importlib.import_module("unicore.tasks")
    reference.make_packages(reference.package_folder(uni_mol, "unimol2", "Uni-Mol"), core)
    for name in ("models", "losses"):
        importlib.import_module(f"unimol2.{name}.unimol2")

    class Task(tasks.UnicoreTask):
        seed = 1
        dictionary = None

        @classmethod
        def setup_task(cls, args, **_):
            return cls(args)

    tasks.register_task("pretrain_here")(Task)
    arguments = OPTIONS.split()
    for name, value in WIDTHS.items():
        arguments += [f"--{name}", str(value)]
    args = options.parse_args_and_arch(options.get_training_parser("pretrain_here"), arguments)
    task = tasks.setup_task(args)
    torch.manual_seed(1)
    model = task.build_model(args)
    loss = task.build_loss(args)
    trainer = importlib.import_module("unicore.trainer").Trainer(args, task, model, loss)
    trainer._total_train_steps = 100
    return trainer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reference.add_arguments(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.pt.gz")
    parser.add_argument("--molecules", type=Path, default=agreement.NCI, metavar="SMI")
    args = parser.parse_args()
    try:
        trainer = make_trainer(args.reference, args.core)
    except InputError as error:
        print(f"checkpoint: {error}", file=sys.stderr)
        return 2
    smiles = agreement.read_smiles(args.molecules, 3, (1, 12))
    batch = reference.make_batch(agreement.ask(smiles, "pretrain", 0))
    with importlib.import_module("unicore.logging.metrics").aggregate("train"):
        for _ in range(2):
            trainer.train_step([{"batched_data": batch}])
    # what its checkpoint_utils adds when a training run saves
    iterator = {"version": 2, "epoch": 1, "iterations_in_epoch": 2, "shuffle": True, "len": 2}
    state = {"train_iterator": iterator, "val_loss": 1.0, "best": 1.0}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "checkpoint.pt"
        trainer.save_checkpoint(str(file), state)
        args.out.write_bytes(gzip.compress(file.read_bytes(), 9, mtime=0))
    print(f"{args.out}: {args.out.stat().st_size / 1e3:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
