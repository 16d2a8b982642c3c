"""Physical laws that every model obeys: a test class inherits them and says what a model gives.

`outputs(molecules, length)` maps molecules to a list of (molecule vector, atom vectors, moved
coordinates), one entry a molecule, without padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from molnb.inference.featurizer import FeaturizedMolecule, featurize
from molnb.models.subnormals import SubnormalCounter

MOLECULES = ("CC(=O)Oc1ccccc1C(=O)O", "CN1CCC[C@H]1c1cccnc1", "CCO", "C", "F/C=C/Cl")


def rotation(seed: int) -> np.ndarray:
    """A proper rotation, not special in any way."""
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return (q * np.sign(np.linalg.det(q))).astype(np.float32)


def renumbered(molecule: FeaturizedMolecule, order: np.ndarray) -> FeaturizedMolecule:
    """The same heavy atoms in another order (hydrogens left out)."""
    arrays = molecule.arrays
    n = arrays["n_heavy"]
    rank = np.argsort(order)
    bonds = np.sort(rank[arrays["bonds"][: arrays["n_heavy_bonds"]].astype(int)], 1)
    changed = {
        "numbers": arrays["numbers"][:n][order],
        "atom_feats": arrays["atom_feats"][:n][order],
        "bonds": bonds.astype(np.uint16),
        "bond_feats": arrays["bond_feats"][: len(bonds)],
    }
    return molecule._replace(arrays=dict(arrays) | changed, coords=molecule.coords[:n][order])


class Laws:
    """Inherit, and give `outputs`."""

    tolerance = 2e-5
    moves_atoms = True  # false for a family that returns coordinates as they came

    def outputs(
        self, molecules: Sequence[FeaturizedMolecule], length: int | None = None
    ) -> list[tuple[torch.Tensor, ...]]:
        raise NotImplementedError

    def close(self, a: torch.Tensor, b: torch.Tensor) -> None:
        scale = max(1.0, float(a.abs().max()))
        assert float((a - b).abs().max()) < self.tolerance * scale

    def test_padding_changes_nothing(self):
        molecule = [featurize(MOLECULES[0])]
        for tight, wide in zip(self.outputs(molecule)[0], self.outputs(molecule, length=40)[0]):
            self.close(tight, wide)

    def test_company_in_the_batch_changes_nothing(self):
        molecules = [featurize(s) for s in MOLECULES]
        together = self.outputs(molecules)
        for molecule, crowd in zip(molecules, together):
            for alone, beside in zip(self.outputs([molecule])[0], crowd):
                self.close(alone, beside)

    def test_renumbering_the_atoms_renumbers_the_answer(self):
        molecule = featurize(MOLECULES[1])
        order = np.random.default_rng(3).permutation(molecule.arrays["n_heavy"])
        (vector, atoms, coords), (other, permuted, moved) = self.outputs(
            [molecule, renumbered(molecule, order)]
        )
        self.close(vector, other)
        self.close(atoms[order], permuted)
        self.close(coords[order], moved)

    def test_rigid_motion_moves_coordinates_and_nothing_else(self):
        molecule = featurize(MOLECULES[0])
        turn = rotation(1)
        shift = np.array([3.0, -2.0, 5.0], np.float32)
        turned = molecule._replace(coords=molecule.coords @ turn + shift)
        (vector, atoms, coords), (other, beside, moved) = self.outputs([molecule, turned])
        self.close(vector, other)
        self.close(atoms, beside)
        self.close(coords @ torch.from_numpy(turn) + torch.from_numpy(shift), moved)

    def test_no_number_on_the_way_is_subnormal(self):
        """Some processors take many times as long for those."""
        molecules = [featurize(s) for s in MOLECULES]
        with SubnormalCounter() as counter:
            self.outputs(molecules)
        assert counter.n_result and not counter.of_operation

    def test_the_laws_are_not_kept_by_a_constant(self):
        first, second = self.outputs([featurize(MOLECULES[0]), featurize(MOLECULES[1])])
        assert float((first[0] - second[0]).abs().max()) > 1e-3
        if self.moves_atoms:
            conformer = torch.from_numpy(featurize(MOLECULES[0]).coords[: len(first[2])])
            assert float((first[2] - conformer).abs().max()) > 1e-3
