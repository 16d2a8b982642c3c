"""Laws by which losses fall: a constant, and powers of size, data, steps or compute.

Each is a small frozen record of its coefficients and exponents, and says the loss anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ...errors import InputError, did_you_mean
from ...shapes import Float

SAMPLES = "samples"
# What data can be counted in: columns of a table of points, and what they are.
DATA = {SAMPLES: "molecules drawn", "unique": "different molecules"}
MILLION = 1e6


class Term(NamedTuple):
    """A term of a law: a coefficient, alone or times a power of a quantity.

    `sign` is that of the exponent as the law writes it: N^-a, but M^b.
    """

    coefficient: str
    exponent: str | None = None
    quantity: str | None = None
    sign: int = -1


@dataclass(frozen=True)
class Law:
    """What all laws can do. A kind of law names its terms and has fields for their numbers."""

    name: ClassVar[str]
    terms: ClassVar[tuple[Term, ...]]
    on_frontier: ClassVar[bool] = False  # whether it is one of the lowest losses for their compute

    @classmethod
    def parameter_names(cls) -> list[str]:
        """Coefficients and exponents in the order of the terms."""
        return [name for term in cls.terms for name in term[:2] if name is not None]

    @property
    def parameters(self) -> dict[str, float]:
        """Coefficients and exponents by name."""
        return {name: getattr(self, name) for name in self.parameter_names()}

    def with_parameters(self, values: Float[np.ndarray, " parameter"]) -> Law:
        """A law of this kind with other coefficients and exponents."""
        return replace(self, **dict(zip(self.parameter_names(), map(float, values), strict=True)))

    def quantities(self, points: Any) -> dict[str, Float[np.ndarray, " point"]]:
        """What the terms are powers of, at points: a table, or numbers by name of its columns."""
        raise NotImplementedError

    def predict(self, points: Any) -> Float[np.ndarray, " point"]:
        """The losses at points: a table, or numbers by name of its columns."""
        values = np.array([list(self.parameters.values())], np.float64)
        return self.losses(points, values)[0]

    def losses(
        self, points: Any, values: Float[np.ndarray, "draw parameter"]
    ) -> Float[np.ndarray, "draw point"]:
        """The losses at points by many laws of this kind, a row each; see `predict`."""
        quantities = self.quantities(points)
        of_name = dict(zip(self.parameter_names(), values.T[:, :, None], strict=True))
        total = np.zeros(1)
        for term in self.terms:
            value = of_name[term.coefficient]
            if term.quantity is not None:
                exponent = term.sign * of_name[term.exponent]
                value = value * quantities[term.quantity] ** exponent
            total = total + value
        return total

    @property
    def legend(self) -> str:
        """What the letters of the equation are."""
        raise NotImplementedError

    def equation(self) -> str:
        """The law with its numbers, as text."""
        summands = []
        for term in self.terms:
            text = f"{getattr(self, term.coefficient):.4g}"
            if term.quantity is not None:
                text += f" {term.quantity}^{term.sign * getattr(self, term.exponent):.3g}"
            summands.append(text)
        return f"L = {' + '.join(summands)} ({self.legend})"


@dataclass(frozen=True)
class SizeDataLaw(Law):
    """L(N, D) = E + A N^-a + B D^-b (Hoffmann et al. 2022, arXiv 2203.15556, approach 3).

    D is the column `data` of a table of points: molecules drawn, or different ones.
    """

    name: ClassVar[str] = "size and data"
    terms: ClassVar[tuple[Term, ...]] = (
        Term("E"),
        Term("A", "a", "N"),
        Term("B", "b", "D"),
    )

    E: float
    A: float
    a: float
    B: float
    b: float
    data: str = SAMPLES

    def __post_init__(self):
        if self.data not in DATA:
            raise InputError(
                f"data are counted in {self.data!r}{did_you_mean(self.data, DATA)}: choose "
                f"{' or '.join(DATA)}"
            )

    def quantities(self, points: Any) -> dict[str, Float[np.ndarray, " point"]]:
        return {"N": column(points, "N"), "D": column(points, self.data)}

    @property
    def legend(self) -> str:
        return f"N: parameters without tables and heads, D: {DATA[self.data]}"


@dataclass(frozen=True)
class SizeLaw(Law):
    """L(N) = E + A N^-a, of models that were all trained on the same data."""

    name: ClassVar[str] = "size"
    terms: ClassVar[tuple[Term, ...]] = (Term("E"), Term("A", "a", "N"))

    E: float
    A: float
    a: float

    def quantities(self, points: Any) -> dict[str, Float[np.ndarray, " point"]]:
        return {"N": column(points, "N")}

    @property
    def legend(self) -> str:
        return "N: parameters without tables and heads"


@dataclass(frozen=True)
class ComputeLaw(Law):
    """L(C) = E + K C^-g, of the lowest losses that there are for their compute.

    They are the luckiest runs too, so this law is a little better than a run can expect to be.
    """

    name: ClassVar[str] = "compute"
    terms: ClassVar[tuple[Term, ...]] = (Term("E"), Term("K", "g", "C"))
    on_frontier: ClassVar[bool] = True

    E: float
    K: float
    g: float

    def quantities(self, points: Any) -> dict[str, Float[np.ndarray, " point"]]:
        return {"C": column(points, "flops")}

    @property
    def legend(self) -> str:
        return "C: FLOPs of training"


@dataclass(frozen=True)
class PaperLaw(Law):
    """L = a_m M^b_m + a_s S^b_s + a_c C^b_c with C = M S, the law of Uni-Mol2 (arXiv 2406.14969).

    M are all parameters, in millions, and S steps. The paper does not say so: with these units its
    numbers give its predictions. There is no constant, so the loss falls without end.
    """

    name: ClassVar[str] = "paper"
    terms: ClassVar[tuple[Term, ...]] = (
        Term("a_m", "b_m", "M", sign=1),
        Term("a_s", "b_s", "S", sign=1),
        Term("a_c", "b_c", "C", sign=1),
    )

    a_m: float
    b_m: float
    a_s: float
    b_s: float
    a_c: float
    b_c: float

    def quantities(self, points: Any) -> dict[str, Float[np.ndarray, " point"]]:
        millions = column(points, "parameters") / MILLION
        steps = column(points, "step")
        return {"M": millions, "S": steps, "C": millions * steps}

    @property
    def legend(self) -> str:
        return "M: million parameters, S: steps, C = M S"


LAWS: Mapping[str, type[Law]] = {
    law.name: law for law in (SizeDataLaw, SizeLaw, ComputeLaw, PaperLaw)
}


def unfitted(name: str, data: str = SAMPLES) -> Law:
    """A law by its name, its numbers unknown; `data` are what a law with data counts.

    Raises InputError for a law that there is not.
    """
    if name not in LAWS:
        raise InputError(
            f"there is no law {name!r}{did_you_mean(name, LAWS)}: choose one of {', '.join(LAWS)}"
        )
    kind = LAWS[name]
    unknown = [float("nan")] * len(kind.parameter_names())
    return kind(*unknown, data) if kind is SizeDataLaw else kind(*unknown)


def column(points: Any, name: str) -> Float[np.ndarray, " point"]:
    """A column of a table of points, or a number by that name, as floats; missing is NaN."""
    if name not in points:
        raise InputError(f"{name} is needed to say the loss, and there are {', '.join(points)}")
    return np.atleast_1d(np.array(points[name], np.float64))
