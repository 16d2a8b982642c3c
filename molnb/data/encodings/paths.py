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
    step = adjacent.float()
    reached = torch.eye(n, dtype=torch.bool, device=adjacent.device).expand(mol, n, n).clone()
    hops = torch.where(reached, 0, UNREACHABLE).to(torch.int16)
    frontier = reached
    for distance in range(1, n):
        frontier = (torch.bmm(frontier.float(), step) > 0) & ~reached
        if not frontier.any():
            break
        hops[frontier] = distance
        reached = reached | frontier
    return hops
