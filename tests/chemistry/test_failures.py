"""Failures of chemistry are typed, and faults of the program are not taken for them."""

from __future__ import annotations

import pickle

import pytest

Chem = pytest.importorskip("rdkit.Chem")
from molnb.chemistry.failures import MoleculeError, guarded


def test_a_failure_survives_the_way_back_from_a_worker() -> None:
    raised = MoleculeError("over the size limit", "70 heavy atoms, limit 64")
    failure = pickle.loads(pickle.dumps(raised))
    assert (failure.step, failure.reason) == ("standardise", "over the size limit")
    assert str(failure) == "standardise: over the size limit (70 heavy atoms, limit 64)"


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: undefined_name, NameError),  # noqa: F821
        (lambda: Chem.MolFromSmiles("C").GetNumAtom(), AttributeError),
        (lambda: Chem.MolToSmiles(None), TypeError),  # Boost.Python.ArgumentError
        (lambda: {}["key"], KeyError),
        (lambda: [0][len("far")], IndexError),
    ],
)
def test_a_fault_of_the_program_is_not_taken_for_chemistry(call, error: type) -> None:
    with pytest.raises(error):
        guarded("embedding failed")(call)()


def test_what_rdkit_raises_is_a_typed_failure() -> None:
    pentavalent = Chem.MolFromSmiles("C(C)(C)(C)(C)C", sanitize=False)
    calls = {
        "AtomValenceException": lambda: Chem.SanitizeMol(pentavalent),
        "KekulizeException": lambda: Chem.Kekulize(Chem.MolFromSmiles("c1cccc1", sanitize=False)),
        "RuntimeError": lambda: Chem.MolFromSmiles("C").GetAtomWithIdx(7),
        "ValueError": lambda: Chem.MolFromSmiles("C").GetConformer(),
    }
    for name, call in calls.items():
        with pytest.raises(MoleculeError, match=f"sanitisation failed .{name}: "):
            guarded("sanitisation failed")(call)()
