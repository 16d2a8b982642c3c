"""Shortest paths along bonds between all atoms of molecules, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from ...shapes import Bool, Int

UNREACHABLE = -1  # no path: another fragment, or padding


def shortest_paths(adjacent: Bool[Tensor, "mol n n"]) -> Int[Tensor, "mol n n"]:
    """Bonds on the shortest path between any two atoms (int16); UNREACHABLE (-1) without a path.

    Breadth-first search from all atoms at once: one small matrix product for each shell of
    neighbours, as many as the longest of the shortest paths. Padding atoms have no bonds, so they
    reach only themselves (0).
    """
    mol, n, _ = adjacent.shape
    itself = torch.eye(n, dtype=torch.bool, device=adjacent.device)
    step = (adjacent | itself).float()
    reached = itself.expand(mol, n, n)
    hops = torch.zeros(mol, n, n, dtype=torch.int16, device=adjacent.device)
    for _ in range(1, n):
        further = torch.bmm(reached.float(), step) > 0
        if torch.equal(further, reached):
            break
        hops += ~reached  # one bond more to all that lies farther
        reached = further
    return torch.where(reached, hops, UNREACHABLE)
