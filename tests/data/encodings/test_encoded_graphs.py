"""Encodings of graphs agree with slow plain versions, and depend on nothing but the graph."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from rdkit import Chem

from molnb.data.batch import MolBatch, square_index
from molnb.data.encodings import catalogue, stacks
from molnb.data.encodings.catalogue import (
    encode,
    encode_all,
    parse,
    width_of,
    with_encodings,
)
from molnb.data.encodings.fragments import find_fragments
from molnb.data.encodings.levels import atoms_to_molecules, to_atoms
from molnb.data.encodings.stacks import Molecules
from molnb.errors import InputError

REFERENCE = Path("/work/shared/parity/graphium_features.npz")

SMILES = [
    "CCO",
    "C",
    "c1ccccc1",
    "[Na+].[Cl-]",
    "CC(=O)[O-].[K+]",
    "CC(C)(C)c1ccc(C(F)(F)F)cc1",
    "C1CC2CCC1C2.CCO.O",
    "OC(=O)c1cccc2ccccc12",
    "C12C3C4C1C5C2C3C45",  # cubane: eigenvalues of three vectors
    "CC",
]
NAMES = [
    "eigenpairs_8",
    "eigenpairs_3_sym",
    "eigengroups_8",
    "eigengroups_4_sym",
    "return_probabilities_16",
    "return_probabilities_1",
    "electrostatic",
    "commute",
    "transitions_4",
    "hops",
    "bond_eigenpairs_8",
    "bond_return_probabilities_5",
    "bond_electrostatic",
    "bond_commute",
    "bond_transitions_3",
    "bond_hops",
    "pair_electrostatic",
    "pair_commute",
    "pair_transitions_4",
    "pair_hops",
    "pair_return_probabilities_4",
]


class Graph:
    """A molecular graph by hand: atoms, bonds, and what follows in loops and full matrices."""

    def __init__(self, n: int, bonds: np.ndarray):
        self.n = n
        self.bonds = np.asarray(bonds, int).reshape(-1, 2)
        self.adjacency = np.zeros((n, n))
        for i, j in self.bonds:
            self.adjacency[i, j] = 1
            self.adjacency[j, i] = 1
        self.degree = self.adjacency.sum(1)
        self.laplacian = np.diag(self.degree) - self.adjacency

    @classmethod
    def of(cls, smiles: str) -> Graph:
        mol = Chem.MolFromSmiles(smiles)
        bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in mol.GetBonds()]
        return cls(mol.GetNumAtoms(), bonds)

    def hops(self) -> np.ndarray:
        hops = np.full((self.n, self.n), -1.0)
        for start in range(self.n):
            hops[start, start] = 0
            queue = [start]
            for atom in queue:
                for other in np.flatnonzero(self.adjacency[atom]):
                    if hops[start, other] < 0:
                        hops[start, other] = hops[start, atom] + 1
                        queue.append(other)
        return hops

    def fragments(self) -> list[np.ndarray]:
        rows = {tuple(np.flatnonzero(row >= 0)) for row in self.hops()}
        return [np.array(row) for row in sorted(rows)]

    def walk(self, k: int) -> np.ndarray:
        step = np.zeros((self.n, self.n))
        for i, j in itertools.product(range(self.n), repeat=2):
            if self.adjacency[i, j]:
                step[i, j] = 1 / self.degree[i]
        if self.n == 1:
            step[:] = 1
        return np.linalg.matrix_power(step, k)

    def electrostatic(self) -> np.ndarray:
        inverse = np.linalg.pinv(self.laplacian)
        return inverse - np.diag(inverse)

    def commute(self) -> np.ndarray:
        """Expected steps there and back, from the equations of hitting times."""
        steps = np.full((self.n, self.n), -1.0)
        for atoms in self.fragments():
            hit = np.zeros((len(atoms), len(atoms)))
            for target in range(len(atoms)):
                others = np.flatnonzero(np.arange(len(atoms)) != target)
                if len(others):
                    move = self.walk(1)[np.ix_(atoms[others], atoms[others])]
                    rest = np.eye(len(others)) - move
                    hit[others, target] = np.linalg.solve(rest, np.ones(len(others)))
            steps[np.ix_(atoms, atoms)] = hit + hit.T
        return steps


GRAPHS = [Graph.of(smiles) for smiles in SMILES]


def joined(graphs: list[Graph]) -> tuple[np.ndarray, np.ndarray]:
    """Atoms of each, and bonds counted over all."""
    n_atoms = np.array([graph.n for graph in graphs])
    starts = np.cumsum(n_atoms) - n_atoms
    bonds = [graph.bonds + start for graph, start in zip(graphs, starts)]
    return n_atoms, np.concatenate(bonds)


def renumbered(graph: Graph, order: np.ndarray) -> Graph:
    """The same molecule, whose atom i was atom order[i]."""
    return Graph(graph.n, np.argsort(order)[graph.bonds])


def rows_of(values: np.ndarray, counts: list[int]) -> list[np.ndarray]:
    return np.split(values, np.cumsum(counts)[:-1])


def by_atom(name: str) -> list[np.ndarray]:
    return rows_of(encode(name, *joined(GRAPHS)), [graph.n for graph in GRAPHS])


def by_pair(name: str) -> list[np.ndarray]:
    """One square a molecule."""
    rows = rows_of(encode(f"pair_{name}", *joined(GRAPHS)), [graph.n**2 for graph in GRAPHS])
    return [row.reshape(g.n, g.n, -1) for row, g in zip(rows, GRAPHS)]


# -------------------------------------------------------------------------- agreement with loops


def test_fragments_are_those_of_a_search_whatever_the_order_of_bonds():
    rng = np.random.default_rng(0)
    for _ in range(40):
        n = int(rng.integers(1, 30))
        graph = Graph(n, [(i, j) for i, j in rng.integers(0, n, (n // 2, 2)) if i != j])
        found = find_fragments(n, graph.bonds)
        expected = [set(atoms.tolist()) for atoms in graph.fragments()]
        assert [set(np.flatnonzero(found == k)) for k in range(found.max() + 1)] == expected


@pytest.mark.parametrize(("name", "is_sym"), [("eigenpairs_8", False), ("eigenpairs_8_sym", True)])
def test_eigenpairs_solve_the_laplacian_of_each_fragment(name, is_sym):
    for graph, encoding in zip(GRAPHS, by_atom(name)):
        for atoms in graph.fragments():
            matrix = graph.laplacian[np.ix_(atoms, atoms)]
            if is_sym:
                root = np.sqrt(np.maximum(graph.degree[atoms], 1))
                matrix = matrix / root / root[:, None]
            n = min(8, len(atoms))
            vectors = encoding[atoms, :n].astype(float)
            values = encoding[atoms[0], 8 : 8 + n]
            assert np.allclose(values, np.linalg.eigvalsh(matrix)[:n], atol=1e-6)
            assert np.allclose(matrix @ vectors, vectors * values, atol=1e-6)
            assert np.allclose(vectors.T @ vectors, np.eye(n), atol=1e-6)
            assert (encoding[atoms, 8:] == encoding[atoms[0], 8:]).all(), "repeated at atoms"
            assert values[0] == 0
            assert not encoding[atoms, n:8].any() and not encoding[atoms, 8 + n :].any()


def test_eigengroups_are_what_lies_in_the_whole_space_of_an_eigenvalue():
    for graph, encoding in zip(GRAPHS, by_atom("eigengroups_8")):
        for atoms in graph.fragments():
            values, vectors = np.linalg.eigh(graph.laplacian[np.ix_(atoms, atoms)])
            for place in range(min(8, len(atoms))):
                same = np.abs(values - values[place]) < 1e-5
                expected = (vectors[:, same] ** 2).sum(1) / same.sum()
                assert np.allclose(encoding[atoms, place], expected, atol=1e-6)
                assert np.allclose(encoding[atoms, 8 + place], values[place], atol=1e-6)


def test_every_atom_of_benzene_and_cubane_has_the_same_eigengroups():
    benzene = by_atom("eigengroups_8")[2]
    cubane = by_atom("eigengroups_8")[8]
    assert np.abs(benzene - benzene[0]).max() < 1e-6 and np.abs(cubane - cubane[0]).max() < 1e-6
    assert np.allclose(cubane[0, :8], 1 / 8) and np.allclose(
        cubane[0, 8:], [0, 2, 2, 2, 4, 4, 4, 6]
    )


def test_a_group_that_is_cut_by_the_last_place_counts_whole():
    """Of cubane's three vectors of eigenvalue 2 one has a place, and each atom lies in it alike."""
    encoding = encode("eigengroups_2", *joined([GRAPHS[8]]))
    assert np.allclose(encoding[:, 1], 1 / 8, atol=1e-7)


def test_return_and_transition_probabilities_are_powers_of_one_step():
    for graph, back, there in zip(
        GRAPHS, by_atom("return_probabilities_16"), by_pair("transitions_4")
    ):
        for k in range(1, 17):
            assert np.allclose(back[:, k - 1], np.diag(graph.walk(k)), atol=1e-6)
        for k in range(1, 5):
            assert np.allclose(there[:, :, k - 1], graph.walk(k), atol=1e-6)


def test_an_atom_without_bonds_returns_if_it_is_the_molecule():
    methane, salt, acetate = (by_atom("return_probabilities_16")[i] for i in (1, 3, 4))
    assert (methane == 1).all() and (salt == 0).all() and (acetate[-1] == 0).all()


@pytest.mark.parametrize("name", ["electrostatic", "commute", "hops"])
def test_encodings_of_pairs_agree_with_plain_versions_also_between_fragments(name):
    for graph, encoding in zip(GRAPHS, by_pair(name)):
        assert np.allclose(encoding[..., 0], getattr(graph, name)(), atol=1e-5, rtol=1e-6)


# ---------------------------------------------------------------------------------------- levels


@pytest.mark.parametrize("name", ["electrostatic", "commute", "hops", "transitions_4"])
def test_at_atoms_stand_minimum_mean_and_deviation_over_pairs_with_a_path(name):
    for graph, square, encoding in zip(GRAPHS, by_pair(name), by_atom(name)):
        for atom in range(graph.n):
            expected = []
            partners = np.arange(graph.n)
            if name in ("commute", "hops"):
                partners = np.flatnonzero(graph.hops()[atom] >= 0)
            for statistic in (np.min, np.mean, np.std):
                for channel in range(square.shape[2]):
                    expected.append(statistic(square[partners, atom, channel].astype(float)))
                    expected.append(statistic(square[atom, partners, channel].astype(float)))
            assert np.allclose(encoding[atom], expected, atol=1e-6, rtol=1e-6)


def test_at_bonds_stand_sums_and_differences_of_atoms_or_the_numbers_of_their_pair():
    n_atoms, bonds = joined(GRAPHS)
    atoms = encode("return_probabilities_4", n_atoms, bonds)
    of_bonds = encode("bond_return_probabilities_4", n_atoms, bonds)
    squares = by_pair("electrostatic")
    potentials = encode("bond_electrostatic", n_atoms, bonds)
    commutes = encode("bond_commute", n_atoms, bonds)
    row = 0
    for graph, square, steps in zip(GRAPHS, squares, by_pair("commute")):
        for i, j in graph.bonds:
            first, second = atoms[bonds[row]]
            assert np.array_equal(of_bonds[row, :4], first + second)
            assert np.array_equal(of_bonds[row, 4:], np.abs(first - second))
            assert potentials[row].tolist() == [square[i, j, 0], square[j, i, 0]]
            assert commutes[row].tolist() == [steps[i, j, 0]]
            row += 1
    assert row == len(bonds)


def test_at_pairs_stand_sums_and_differences_in_the_order_of_square_index():
    n_atoms, bonds = joined(GRAPHS)
    atoms = encode("return_probabilities_4", n_atoms, bonds)
    batch = as_batch(n_atoms, bonds)
    index = square_index(batch)
    first = (batch.first_atom()[index[:, 0]] + index[:, 1]).numpy()
    second = (batch.first_atom()[index[:, 0]] + index[:, 2]).numpy()
    pairs = encode("pair_return_probabilities_4", n_atoms, bonds)
    assert np.array_equal(pairs[:, :4], atoms[first] + atoms[second])
    assert np.array_equal(pairs[:, 4:], np.abs(atoms[first] - atoms[second]))


def test_atoms_are_summed_to_molecules_and_molecules_spread_to_atoms():
    molecules = Molecules(np.array([2, 1]), np.array([[0, 1]]))
    summed = atoms_to_molecules(np.array([[1.0], [2.0], [5.0]], np.float32), molecules)
    assert summed.tolist() == [[3.0, 1.5], [5.0, 5.0]]
    assert to_atoms(summed, molecules).tolist() == [[3.0, 1.5], [3.0, 1.5], [5.0, 5.0]]


# ------------------------------------------------------------------------------------------ laws


@pytest.mark.parametrize("name", NAMES)
def test_a_molecule_has_the_same_bits_in_any_company(name, monkeypatch):
    """Alone, among others, in another order, and where the work is cut into other pieces."""
    rng = np.random.default_rng(1)
    graphs = [renumbered(g, rng.permutation(g.n)) for g in GRAPHS * 3]
    order = rng.permutation(len(graphs))
    level = parse(name).level
    together = split_by(level, graphs, encode(name, *joined(graphs)))
    mixed = [graphs[i] for i in order]
    others = split_by(level, mixed, encode(name, *joined(mixed)))
    monkeypatch.setattr(stacks, "STACK_ENTRIES", 100)
    monkeypatch.setattr(catalogue, "PAIRS_AT_ONCE", 500)
    in_pieces = split_by(level, mixed, encode(name, *joined(mixed)))
    for place, number in enumerate(order):
        alone = encode(name, *joined([graphs[number]]))
        assert alone.dtype == np.float32 and alone.shape[1] == width_of(name)
        for other in (together[number], others[place], in_pieces[place]):
            assert alone.tobytes() == other.tobytes()


def split_by(level: str, graphs: list[Graph], values: np.ndarray) -> list[np.ndarray]:
    counts = {"atom": [g.n for g in graphs], "bond": [len(g.bonds) for g in graphs]}
    counts["pair"] = [g.n**2 for g in graphs]
    return rows_of(values, counts[level])


def test_names_asked_for_together_or_alone_give_the_same_bits():
    arguments = joined(GRAPHS)
    together = encode_all(NAMES, *arguments)
    assert list(together) == NAMES
    assert all(together[name].tobytes() == encode(name, *arguments).tobytes() for name in NAMES)


INVARIANT = [
    "eigengroups_8",
    "eigengroups_4_sym",
    "return_probabilities_16",
    "electrostatic",
    "commute",
    "transitions_4",
    "hops",
]


@pytest.mark.parametrize("name", INVARIANT)
def test_renumbered_atoms_take_their_rows_with_them(name):
    rng = np.random.default_rng(2)
    for graph in GRAPHS:
        order = rng.permutation(graph.n)
        before = encode(name, *joined([graph]))
        after = encode(name, *joined([renumbered(graph, order)]))
        assert np.allclose(after, before[order], atol=2e-6, rtol=2e-6)


def test_renumbering_turns_eigenvectors_at_most_within_the_space_of_their_value():
    rng = np.random.default_rng(3)
    for graph in GRAPHS:
        n_atom = [len(atoms) for atoms in graph.fragments()]
        if len(n_atom) > 1 or n_atom[0] > 8:
            continue  # of larger graphs the last space may be cut
        order = rng.permutation(graph.n)
        before = encode("eigenpairs_8", *joined([graph]))[order].astype(float)
        after = encode("eigenpairs_8", *joined([renumbered(graph, order)])).astype(float)
        for value in before[0, 8 : 8 + graph.n]:
            same = np.abs(before[0, 8 : 8 + graph.n] - value) < 1e-5
            left = before[:, :8][:, : graph.n][:, same]
            right = after[:, :8][:, : graph.n][:, same]
            assert np.allclose(left @ left.T, right @ right.T, atol=1e-5)


def test_the_sign_of_a_skewed_vector_does_not_depend_on_the_numbering():
    rng = np.random.default_rng(4)
    n_compared = 0
    for smiles in ("CCOc1ccc(N)nc1CF", "CC(C)CC(N)C(=O)O", "OC1CCC2CCOC2C1"):
        graph = Graph.of(smiles)
        values = np.linalg.eigvalsh(graph.laplacian)
        order = rng.permutation(graph.n)
        before = encode("eigenpairs_8", *joined([graph]))[order]
        after = encode("eigenpairs_8", *joined([renumbered(graph, order)]))
        for k in range(8):
            is_skewed = abs((before[:, k] ** 3).sum()) > 1e-3
            if is_skewed and (np.abs(values - values[k]) < 1e-3).sum() == 1:
                assert np.allclose(after[:, k], before[:, k], atol=1e-5)
                n_compared += 1
    assert n_compared > 15


def test_atoms_of_fragments_need_not_lie_together():
    """Two chains whose atoms take turns, and one atom between them."""
    graph = Graph(6, [(0, 3), (1, 4), (4, 5)])
    back = encode("return_probabilities_2", *joined([graph]))
    assert np.allclose(back[:, 1], [1, 0.5, 0, 1, 1, 0.5])
    hops = encode("pair_hops", *joined([graph])).reshape(6, 6)
    assert np.array_equal(hops, graph.hops())


def test_bonds_may_come_in_any_order_and_direction():
    n_atoms, bonds = joined(GRAPHS)
    order = np.random.default_rng(5).permutation(len(bonds))
    for name in ("eigenpairs_8", "bond_return_probabilities_5", "bond_commute"):
        before = encode(name, n_atoms, bonds)
        after = encode(name, n_atoms, bonds[order][:, ::-1])
        expected = before[order] if name.startswith("bond_") else before
        assert np.array_equal(after, expected)


def test_memory_is_bounded_by_the_output_and_a_limited_number_of_pairs(monkeypatch):
    seen = []
    plain = catalogue._natives

    def watched(specs, molecules):
        seen.append(molecules.n_pair)
        return plain(specs, molecules)

    monkeypatch.setattr(catalogue, "_natives", watched)
    monkeypatch.setattr(catalogue, "PAIRS_AT_ONCE", 300)
    graphs = GRAPHS * 10
    encode("commute", *joined(graphs))
    assert max(seen) <= 300 + max(g.n for g in graphs) ** 2 and sum(seen) == sum(
        g.n**2 for g in graphs
    )


def test_no_molecules_and_molecules_without_bonds_have_encodings_too():
    for name in NAMES:
        level = parse(name).level
        width = width_of(name)
        none = encode(name, np.zeros(0, int), np.zeros((0, 2), int))
        assert none.shape == (0, width)
        ions = encode(name, np.array([1, 2]), np.zeros((0, 2), int))
        assert len(ions) == {"atom": 3, "bond": 0, "pair": 5}[level]
        assert np.isfinite(ions).all()


# ----------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("eigenpair_8", r"did you mean 'eigenpairs_8'"),
        ("bond_hop", r"did you mean 'bond_hops'"),
        ("eigenpairs", "did you mean"),
        ("hops_3", "did you mean 'hops'"),
        ("commute_sym", "did you mean 'commute'"),
        ("eigenpairs_08", "unknown encoding"),
        ("transitions_0", "unknown encoding"),
        ("eigenpairs_65", "asks for 65: at most 64"),
        ("", "unknown encoding ''"),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_the_nearest(name, message):
    with pytest.raises(InputError, match=message):
        width_of(name)


@pytest.mark.parametrize("bond", [[0, 3], [0, 9], [-1, 0], [1, 1]])
def test_bonds_that_join_no_two_atoms_of_a_molecule_are_refused(bond):
    with pytest.raises(InputError, match=r"bond 1 joins the atoms .* no two of one molecule"):
        encode("hops", np.array([3, 3]), np.array([[0, 1], bond]))


# --------------------------------------------------------------------------------------- batches


def as_batch(n_atoms: np.ndarray, bonds: np.ndarray) -> MolBatch:
    """A batch that has nothing but its graphs."""
    starts = np.cumsum(n_atoms) - n_atoms
    mol_of_bond = np.searchsorted(starts, bonds[:, 0], side="right") - 1
    return MolBatch(
        molecule={
            "ids": torch.arange(len(n_atoms)),
            "n_atoms": torch.from_numpy(n_atoms),
            "n_bonds": torch.from_numpy(np.bincount(mol_of_bond, minlength=len(n_atoms))),
        },
        atom={"numbers": torch.full((int(n_atoms.sum()),), 6, dtype=torch.uint8)},
        bond={"bonds": torch.from_numpy(bonds - starts[mol_of_bond][:, None])},
        labels={},
        longest=int(n_atoms.max()),
    )


def test_a_batch_gets_the_encodings_that_it_lacks_and_keeps_those_it_has():
    arguments = joined(GRAPHS)
    batch = as_batch(*arguments)
    mine = torch.zeros(len(batch.numbers), 16)
    batch = batch.with_arrays("atom", {"eigenpairs_8": mine})
    encoded = with_encodings(batch, ["eigenpairs_8", "commute", "bond_commute"])
    assert encoded.atom["eigenpairs_8"] is mine
    for name, array in (("commute", encoded.atom), ("bond_commute", encoded.bond)):
        assert np.array_equal(array[name].numpy(), encode(name, *arguments))
    assert with_encodings(encoded, ["commute"]) is encoded
    with pytest.raises(InputError, match="a batch carries encodings of atoms and bonds"):
        with_encodings(batch, ["pair_hops"])


# ------------------------------------------------------------------------------------- reference


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference's numbers are not here")
@pytest.mark.parametrize("dataset", ["zinc", "qm9"])
def test_eigenpairs_and_return_probabilities_are_graphiums(dataset):
    stored = np.load(REFERENCE, allow_pickle=True)
    n_molecule = len(stored[f"{dataset}_smiles"])
    kinds = ("laplacian_eigvec", "laplacian_eigval", "rw_return_probs")
    theirs = {
        kind: [stored[f"{dataset}_{i}_{kind}"].astype(float) for i in range(n_molecule)]
        for kind in kinds
    }
    graphs = [
        Graph(len(theirs["rw_return_probs"][i]), stored[f"{dataset}_{i}_edge_index"][:, ::2].T)
        for i in range(n_molecule)
    ]
    names = ["eigenpairs_8", "return_probabilities_16"]
    ours = encode_all(names, *joined(graphs))
    values = ours["eigenpairs_8"][:, 8:]
    assert np.array_equal(
        values.astype(np.float16), np.concatenate(theirs["laplacian_eigval"]).reshape(-1, 8)
    )
    back = ours["return_probabilities_16"] - np.concatenate(theirs["rw_return_probs"])
    assert np.abs(back).max() < 3e-4
    vectors = rows_of(ours["eigenpairs_8"][:, :8].astype(float), [g.n for g in graphs])
    n_compared = 0
    for graph, left, right in zip(graphs, vectors, theirs["laplacian_eigvec"]):
        spectrum = np.linalg.eigvalsh(graph.laplacian)
        for k in range(min(8, graph.n)):
            if (np.abs(spectrum - spectrum[k]) < 1e-3).sum() == 1:
                sign = np.sign(left[:, k] @ right[:, k])
                assert np.abs(sign * left[:, k] - right[:, k]).max() < 3e-4
                n_compared += 1
    assert n_compared > 7000
