"""Residual labels: a label minus what a fit on element counts over the training rows explains."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ..files import write_table
from .parts import flat_values, list_lengths, read_parts

ABSENT_ELEMENT = "element absent from the training rows"
N_ELEMENT = 128  # atomic numbers are below


class ElementFit(NamedTuple):
    """Prices of elements, fitted on training rows."""

    elements: np.ndarray  # atomic numbers that occur in any row
    prices: np.ndarray  # unit of the label, an atom
    fitted: np.ndarray  # whether a training row holds the element


def write_derived(
    parts: list[Path], labels: list[dict], train: np.ndarray, folder: Path
) -> dict[str, dict]:
    """Write ``derived.parquet``, one column a residual label; returns the prices of each fit."""
    if not labels:
        return {}
    rows = np.concatenate([table.column("row").to_numpy() for table in read_parts(parts, ["row"])])
    columns = [pa.array(rows)]
    fields = [pa.field("row", pa.int64())]
    fits = {}
    for label in labels:
        fit = _fit_elements(parts, label["residual_of"], train)
        residuals = np.concatenate(list(_residuals(parts, label["residual_of"], fit)))
        columns.append(pa.array(residuals, from_pandas=True))
        metadata = {"unit": label["unit"], "quantity": label["quantity"]}
        fields.append(pa.field(label["name"], pa.float64(), metadata=metadata))
        fits[label["name"]] = _describe_fit(label, fit)
    table = pa.Table.from_arrays(columns, schema=pa.schema(fields))
    write_table(table, folder / "derived.parquet")
    return fits


def _describe_fit(label: dict, fit: ElementFit) -> dict[str, Any]:
    per_element = {
        str(element): float(price) for element, price, fitted in zip(*fit, strict=True) if fitted
    }
    return {"of": label["residual_of"], "unit": label["unit"], "per_element": per_element}


def _residuals(parts: Sequence[Path], column: str, fit: ElementFit) -> Iterator[np.ndarray]:
    """The label of each part minus the prices of its atoms; NaN where an element has no price."""
    for counts, label in _counts_and_label(parts, column):
        counts = counts[:, fit.elements]
        unpriced = counts[:, ~fit.fitted].any(axis=1)
        yield np.where(unpriced, np.nan, label - counts @ fit.prices)


def _fit_elements(parts: Sequence[Path], column: str, train: np.ndarray) -> ElementFit:
    """Least squares of a label on element counts over the training rows.

    By normal equations, which are summed part by part.
    """
    squares = np.zeros((N_ELEMENT, N_ELEMENT))
    products = np.zeros(N_ELEMENT)
    present = np.zeros(N_ELEMENT, bool)
    fitted = np.zeros(N_ELEMENT, bool)
    start = 0
    for counts, label in _counts_and_label(parts, column):
        used = train[start : start + len(label)] & ~np.isnan(label)
        start += len(label)
        squares += counts[used].T @ counts[used]
        products += counts[used].T @ label[used]
        present |= counts.any(axis=0)
        fitted |= counts[used].any(axis=0)
    elements = np.flatnonzero(present)
    normal_matrix = squares[np.ix_(elements, elements)]
    prices = np.linalg.lstsq(normal_matrix, products[elements], rcond=1e-12)[0]
    return ElementFit(elements, prices, fitted[elements])


def _counts_and_label(
    parts: Sequence[Path], column: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each part: atoms of each element by molecule, and a label (NaN where unknown)."""
    for table in read_parts(parts, ["numbers", column]):
        molecule = np.repeat(np.arange(len(table)), list_lengths(table, "numbers"))
        counts = np.zeros((len(table), N_ELEMENT))
        np.add.at(counts, (molecule, flat_values(table, "numbers")), 1)
        yield counts, table.column(column).to_numpy(zero_copy_only=False).astype(float)
