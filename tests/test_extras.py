"""The extra that brings a package is read from the metadata, whichever way these were written."""

from __future__ import annotations

from importlib import metadata

import pytest

from molnb import extras

FLAT = [
    "torch>=2.11",
    "rdkit>=2025.9; extra == 'all'",
    "pyyaml; extra == 'all'",
    "scikit-learn; extra == 'all'",
    "torch-geometric>=2.8; extra == 'all'",
    "rdkit>=2025.9; extra == 'curate'",
    "pyyaml; extra == 'curate'",
    "rdkit>=2025.9; extra == 'evaluate'",
    "pyyaml; extra == 'evaluate'",
    "scikit-learn; extra == 'evaluate'",
    "torch-geometric>=2.8; extra == 'gnn'",
]
NESTED = [
    "torch>=2.11",
    'molnb[curate,evaluate,gnn]; extra == "all"',
    'rdkit>=2025.9; extra == "curate"',
    'pyyaml; extra == "curate"',
    'molnb[curate]; extra == "evaluate"',
    'scikit-learn; extra == "evaluate"',
    'torch_geometric>=2.8; extra == "gnn"',
]


@pytest.mark.parametrize("requirements", [FLAT, NESTED], ids=["flat", "nested"])
@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("rdkit.Chem", "pip install 'molnb[curate]'"),
        ("yaml", "pip install 'molnb[curate]'"),
        ("sklearn", "pip install 'molnb[evaluate]'"),
        ("torch_geometric", "pip install 'molnb[gnn]'"),
        ("torch", "pip install torch"),
        ("unheard_of", "pip install unheard-of"),
    ],
)
def test_the_smallest_extra_that_brings_a_module_is_named(
    requirements: list[str], module: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "requires", lambda _: requirements)
    assert extras.how_to_install(module) == command


def test_a_checkout_that_is_not_installed_names_the_package_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def absent(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", absent)
    assert extras.how_to_install("yaml") == "pip install pyyaml"


def test_the_first_module_that_is_missing_is_named() -> None:
    extras.require("json", "torch")
    with pytest.raises(ModuleNotFoundError, match="No module named 'unheard_of'") as refused:
        extras.require("json", "unheard_of", "unseen")
    assert extras.explain_missing(refused.value) == "needs unheard_of: pip install unheard-of"


def test_a_module_of_molnb_that_is_missing_is_a_defect_and_no_matter_of_installing() -> None:
    error = ModuleNotFoundError("No module named 'molnb.gone'", name="molnb.gone")
    assert extras.explain_missing(error) == ""
