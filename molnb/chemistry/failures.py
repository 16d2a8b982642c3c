"""Why a molecule cannot be used: one exception, with a reason from a short fixed list."""

from __future__ import annotations

import functools
from collections.abc import Callable

from rdkit import rdBase

NO_GEOMETRY = "no 3D coordinates"
REASONS = {  # reason -> the step it belongs to
    "malformed row": "read",
    "empty structure": "parse",
    "unreadable structure": "parse",
    "impossible valence": "parse",
    "no Kekulé form": "parse",
    "sanitisation failed": "parse",
    "bond of no known order": "parse",
    "polymer": "parse",
    "abbreviated group": "parse",
    "no bonds could be perceived": "parse",
    "dummy atom": "standardise",
    "no heavy atoms": "standardise",
    "organometallic or metal complex": "standardise",
    "no parent fragment": "standardise",
    "two organic parents": "standardise",
    "over the size limit": "standardise",
    "hydrogen that cannot be implicit": "standardise",
    "standardisation failed": "standardise",
    "standardisation would change the molecule": "standardise",
    "no stable SMILES": "standardise",
    "embedding failed": "conformer",
    "embedding timed out (machine-dependent)": "conformer",
    "stereo not kept": "conformer",
    NO_GEOMETRY: "conformer",
    "geometry of another molecule": "conformer",
    "no force field parameters": "conformer",
    "force field failed": "conformer",
    "unreasonable geometry": "conformer",
}


class MoleculeError(Exception):
    """A molecule that cannot be used: step, reason (one of REASONS) and a detail with numbers."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)  # these arguments make it picklable
        self.step = REASONS[reason]
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.step}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


def guarded(reason: str) -> Callable:
    """Keep RDKit quiet during a call, and turn what it raises into a MoleculeError of this reason.

    RDKit raises RuntimeError where its own invariants are violated, and ValueError otherwise
    (MolSanitizeException and its kin among them). Everything else, ArgumentError for an argument
    of the wrong type included, is a fault of the program and no property of a molecule: it passes.
    """

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args, **kwargs):
            try:
                with rdBase.BlockLogs():
                    return function(*args, **kwargs)
            except MoleculeError:
                raise
            except (RuntimeError, ValueError) as error:
                text = " ".join(str(error).split())
                raise MoleculeError(reason, f"{type(error).__name__}: {text[:200]}") from error

        return call

    return decorate
