"""Atoms of a molecule as one vector."""

from __future__ import annotations

import torch
from torch import Tensor

from ...shapes import Float
from .layers import Graph


def pool(kind: str, graph: Graph, x: Float[Tensor, "atom d"]) -> Float[Tensor, "mol d"]:
    """The sum, mean or largest entry over atoms, or their mean times log(1 + atoms), "logsum".

    Graphium multiplies by log(atoms), by which molecules of one heavy atom are all alike.
    """
    if kind == "max":
        index = graph.mol_of_atom[:, None].expand_as(x)
        lowest = x.new_full((graph.n_mol, x.shape[1]), -torch.inf)
        return lowest.scatter_reduce(0, index, x, "amax")
    total = graph.sum_by_molecule(x)
    if kind == "sum":
        return total
    n_atom = graph.count_atoms(x)
    mean = total / n_atom
    return mean if kind == "mean" else mean * torch.log1p(n_atom)
