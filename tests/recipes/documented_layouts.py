"""Small files in the layouts that the sources of recipes are documented to have.

Real molecules, few rows; values are made up, in the file's own unit. Each function writes what one
recipe fetches into a folder, under the name that its address ends in, and returns what curation
must find.
"""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HARTREE = 27.211386245988  # eV
KCAL_MOL = 4184 / 96485.33212  # eV
BOHR = 0.529177210903  # Å
METHANE = [  # element and position in Å, of QM9
    ("C", -0.0127, 1.0858, 0.0080),
    ("H", 0.0022, -0.0060, 0.0020),
    ("H", 1.0117, 1.4638, 0.0003),
    ("H", -0.5408, 1.4475, -0.8766),
    ("H", -0.5238, 1.4379, 0.9064),
]
WATER = [
    ("O", -0.0344, 0.9775, 0.0076),
    ("H", 0.0648, 0.0206, 0.0015),
    ("H", 0.8718, 1.3008, 0.0007),
]
NUMBER = {"H": 1, "C": 6, "O": 8}


class Found(NamedTuple):
    """What a curation of a small file must give: rows, molecules by SMILES, some of their labels.

    ``values`` holds by SMILES and label what is stored; ``atoms`` the lists of labels of heavy
    atoms; ``distances`` the sorted distances of a molecule's atoms in Å, where they are given.
    """

    n_row: int
    smiles: set[str]
    values: dict[str, dict[str, float]]
    atoms: dict[str, dict[str, list[float]]] = {}
    distances: dict[str, list[float]] = {}
    marked: dict[str, list[str]] = {}  # SMILES that a flag marks


def distances(atoms: list[tuple[str, float, float, float]]) -> list[float]:
    """All distances between atoms, in ascending order."""
    xyz = np.array([atom[1:] for atom in atoms])
    i, j = np.triu_indices(len(xyz), 1)
    return sorted(np.linalg.norm(xyz[i] - xyz[j], axis=1).tolist())


def molblock(title: str, atoms: list[tuple[str, float, float, float]]) -> str:
    """A mol block of one heavy atom with its hydrogens."""
    n_atom = len(atoms)
    counts = f"{n_atom:3d}{n_atom - 1:3d}  0  0  0  0  0  0  0  0999 V2000"
    lines = [title, "  made", "", counts]
    lines += [f"{x:10.4f}{y:10.4f}{z:10.4f} {e:<3} 0  0" for e, x, y, z in atoms]
    lines += [f"  1{k + 2:3d}  1  0" for k in range(n_atom - 1)]
    return "\n".join([*lines, "M  END"]) + "\n"


def xyz(comment: str, atoms: list[tuple[str, float, float, float]]) -> str:
    """A frame of an XYZ file."""
    lines = [f"{e} {x:.4f} {y:.4f} {z:.4f}" for e, x, y, z in atoms]
    return "\n".join([str(len(atoms)), comment, *lines]) + "\n"


def with_tar(path: Path, members: dict[str, bytes]) -> None:
    """A packed tar of members by name."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


# ----------------------------------------------------------------------------------------- QM9

QM9_COLUMNS = (
    "A B C mu alpha homo lumo gap r2 zpve u0 u298 h298 g298 cv u0_atom u298_atom h298_atom "
    "g298_atom"
).split()
QM9 = {  # as the file has them
    "C": [157.7118, 157.70997, 157.70699, 0, 13.21, -0.3877, 0.1171, 0.5048, 35.3641, 0.044749,
          -40.47893, -40.476062, -40.475117, -40.498597, 6.469, -395.999594594, -398.643290011,
          -401.014646522, -372.471772148],
    "O": [799.58812, 437.90386, 282.94545, 1.8511, 6.31, -0.2928, 0.0687, 0.3615, 19.0002, 0.021375,
          -76.404702, -76.401867, -76.400922, -76.422349, 6.002, -213.087624, -213.974294,
          -215.159658, -201.407171],
}  # fmt: skip
UNCHARACTERIZED = """================================================================
List of molecules whose geometry is another molecule
(made up for a test)

a   b
c   d
e
Index   SMILES     SMILES
================================================================
      2 O          [OH2]
================================================================
      1 molecules
"""


def _qm9_values() -> dict[str, dict[str, float]]:
    factors = dict.fromkeys("homo lumo gap zpve u0 u298 h298 g298".split(), HARTREE)
    factors |= dict.fromkeys("u0_atom u298_atom h298_atom g298_atom".split(), KCAL_MOL)
    factors |= {"alpha": BOHR**3, "r2": BOHR**2}
    return {
        smiles: {
            name: value * factors.get(name, 1) for name, value in zip(QM9_COLUMNS, row, strict=True)
        }
        for smiles, row in QM9.items()
    }


def qm9(folder: Path) -> Found:
    """gdb9.sdf and gdb9.sdf.csv in qm9.zip, and the list of what failed."""
    sdf = "".join(molblock(f"gdb_{k}", atoms) + "$$$$\n" for k, atoms in ((1, METHANE), (2, WATER)))
    header = ",".join(["mol_id", *QM9_COLUMNS])
    rows = [",".join(map(str, [f"gdb_{k}", *row])) for k, row in enumerate(QM9.values(), 1)]
    with zipfile.ZipFile(folder / "qm9.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("gdb9.sdf", sdf)
        archive.writestr("gdb9.sdf.csv", "\n".join([header, *rows]) + "\n")
    (folder / "3195404").write_text(UNCHARACTERIZED)
    return Found(
        2,
        {"C", "O"},
        _qm9_values(),
        distances={"C": distances(METHANE), "O": distances(WATER)},
        marked={"uncharacterized": ["O"]},
    )


def qm9_table(folder: Path) -> Found:
    """Graphium's table of SMILES, for a mix that makes conformers."""
    header = ",".join(["mol_id", "smiles", *QM9_COLUMNS])
    rows = [f"gdb_{k},{s}," + ",".join(map(str, QM9[s])) for k, s in enumerate(QM9, 1)]
    text = "\n".join([header, *rows]) + "\n"
    (folder / "qm9.csv.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "3195404").write_text(UNCHARACTERIZED)
    return Found(2, {"C", "O"}, _qm9_values(), marked={"uncharacterized": ["O"]})


def qm9_parquet(folder: Path) -> Found:
    """An edition with atomic numbers, whole coordinates and bonds, without the *_atom columns."""
    names = [name for name in QM9_COLUMNS if len(name) > 1 and not name.endswith("_atom")]
    rows = []
    for k, (smiles, atoms) in enumerate((("C", METHANE), ("O", WATER)), 1):
        values = dict(zip(QM9_COLUMNS, QM9[smiles], strict=True))
        rows.append(
            {"gdb_id": k, "smiles": smiles}
            | {name: float(values[name]) for name in names}
            | {
                "z": [NUMBER[atom[0]] for atom in atoms],
                "pos_1e4": [round(x * 1e4) for atom in atoms for x in atom[1:]],
                "bonds": [x for j in range(1, len(atoms)) for x in (0, j, 1)],
                "formal_charge": [0] * len(atoms),
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), folder / "qm9_3d.parquet")
    values = {s: {n: v for n, v in row.items() if n in names} for s, row in _qm9_values().items()}
    given = {"C": distances(METHANE), "O": distances(WATER)}
    return Found(2, {"C", "O"}, values, distances=given)


# ------------------------------------------------------------------------------ QM7 and QM7b


def qm7(folder: Path) -> Found:
    """The arrays of qm7.mat, zeros behind the atoms, energies as one row, folds of rows."""
    from scipy.io import savemat

    numbers = np.zeros((2, 23), np.float32)
    coords = np.zeros((2, 23, 3), np.float32)
    for k, atoms in enumerate((METHANE, WATER)):
        numbers[k, : len(atoms)] = [NUMBER[atom[0]] for atom in atoms]
        coords[k, : len(atoms)] = np.array([atom[1:] for atom in atoms]) / BOHR
    arrays = {
        "X": np.zeros((2, 23, 23), np.float32),
        "R": coords,
        "Z": numbers,
        "T": np.array([[-417.96, -230.0]], np.float32),
        "P": np.array([[0], [1]], np.int64),
    }
    savemat(folder / "qm7.mat", arrays)
    energies = {"C": -417.96 * KCAL_MOL, "O": -230.0 * KCAL_MOL}
    values = {smiles: {"atomisation_energy": value} for smiles, value in energies.items()}
    given = {"C": distances(METHANE), "O": distances(WATER)}
    return Found(2, {"C", "O"}, values, distances=given)


QM7B = {
    "C": [-420.93, 2.45, 2.27, -14.2, -10.6, -12.9, 2.6, 1.9, 3.9, 12.9, -3.9, 10.5, 15.1, 0.8],
    "O": [-232.1, 1.3, 1.2, -12.5, -8.9, -12.3, 2.2, 1.1, 7.1, 12.3, -7.1, 8.2, 16.5, 0.2],
}


def qm7b_frames() -> str:
    """Frames with an empty line between, the 14 numbers as their comments."""
    atoms = {"C": METHANE, "O": WATER}
    return "\n".join(xyz(" ".join(map(str, row)), atoms[s]) for s, row in QM7B.items())


def qm7b_values() -> dict[str, dict[str, float]]:
    """What of the frames is stored."""
    return {
        smiles: {
            "ae_pbe0": row[0] / 23.045108,
            "p_pbe0": row[1],
            "homo_gw": row[3],
            "lumo_zindo": row[8],
            "emax_zindo": row[12],
            "imax_zindo": row[13],
        }
        for smiles, row in QM7B.items()
    }


def qm7b(folder: Path) -> Found:
    """dsgdb7njp.xyz among other files in gdb7-13.zip."""
    with zipfile.ZipFile(folder / "gdb7-13.zip", "w") as archive:
        archive.writestr("dsgdb7njp.xyz", qm7b_frames())
        archive.writestr("dsgdb7njp_cvsplits.txt", "1 2\n")
        archive.writestr("readme.txt", "made up\n")
    given = {"C": distances(METHANE), "O": distances(WATER)}
    return Found(2, {"C", "O"}, qm7b_values(), distances=given)


# --------------------------------------------------------------------------- PCQM4M and PM6


def mapped_smiles(smiles: str, order: list[int]) -> str:
    """A SMILES with all hydrogens, whose atom k of the plain SMILES has the map number order[k]."""
    from rdkit import Chem

    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    for atom, number in zip(mol.GetAtoms(), order, strict=True):
        atom.SetAtomMapNum(number)
    return Chem.MolToSmiles(mol)


def cxsmiles(smiles: str, order: list[int]) -> tuple[str, list[float]]:
    """A mapped CXSMILES with coordinates, and the sorted distances of its atoms."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    for atom, number in zip(mol.GetAtoms(), order, strict=True):
        atom.SetAtomMapNum(number)
    text = Chem.MolToCXSmiles(mol)
    coords = mol.GetConformer().GetPositions()
    i, j = np.triu_indices(len(coords), 1)
    return text, sorted(np.linalg.norm(coords[i] - coords[j], axis=1).tolist())


PCQM4M_GRAPH = (
    "alpha_homo alpha_gap beta_homo beta_gap energy_total principal_length_a principal_length_b "
    "principal_length_c inertia_mass_a inertia_mass_b inertia_mass_c inertia_valence_a "
    "inertia_valence_b inertia_valence_c inertia_charges_mulliken_a "
    "inertia_charges_mullkien_b inertia_charges_mulliken_c inertia_charges_lowdin_a "
    "inertia_charges_lowdin_b inertia_charges_lowdin_c spherocity plane_best_fit tddft_alpha_gap "
    "tddft_energy_beta_gap tddft_energy_total"
).split()
PCQM4M_NODE = "charges_mulliken charges_lowdin tddft_charges_mulliken tddft_charges_lowdin".split()


def pcqm4m_g25_n4(folder: Path) -> Found:
    """31 columns of a Parquet file; methanol's and water's charges in the order of their maps."""
    orders = {"CO": [3, 0, 1, 2, 4, 5], "O": [2, 1, 3]}  # methanol: the oxygen comes first
    rows = []
    given = {}
    values: dict[str, dict[str, float]] = {}
    atoms: dict[str, dict[str, list[float]]] = {}
    for smiles, order in orders.items():
        text, given[smiles] = cxsmiles(smiles, order)
        heavy = {"CO": [0.1, -0.5], "O": [-0.7]}[smiles]  # of C and O of methanol, O of water
        charges = {number: 0.0 for number in order}
        charges |= dict(zip(order, heavy))  # the hydrogens' are 0
        by_map = [charges[number] for number in sorted(order)]
        row = {"ordered_cxsmiles_3d": text, "ordered_smiles": text.split()[0]}
        row |= {f"graph_{name}": 0.5 for name in PCQM4M_GRAPH}
        row |= {"graph_alpha_homo": -7.5, "graph_beta_homo": -7.5, "graph_energy_total": -2000.0}
        row |= {"graph_alpha_gap": 7.25, "graph_beta_gap": 7.25}
        row |= {"graph_tddft_energy_total": -1990.0}
        row |= {f"node_{name}": by_map for name in PCQM4M_NODE}
        if smiles == "O":  # time-dependent numbers of half of the molecules
            row |= {name: None for name in row if "tddft" in name}
        rows.append(row)
        values[smiles] = {"alpha_homo": -7.5, "alpha_gap": 7.25, "energy_total": -2000.0}
        atoms[smiles] = {"charges_mulliken": heavy}
    pq.write_table(pa.Table.from_pylist(rows), folder / "PCQM4M_G25_N4.parquet")
    return Found(2, set(orders), values, atoms, given)


PM6_STATE = (
    "alpha_homo alpha_gap beta_homo beta_gap energy_total principal_length_a principal_length_b "
    "principal_length_c spherocity plane_best_fit"
).split()
PM6_GRAPH = (
    "mw fsp3 n_lipinski_hba n_lipinski_hbd n_rings n_hetero_atoms n_heavy_atoms n_rotatable_bonds "
    "n_radical_electrons tpsa qed clogp sas n_aliphatic_carbocycles n_aliphatic_heterocyles "
    "n_aliphatic_rings n_aromatic_carbocycles n_aromatic_heterocyles n_aromatic_rings "
    "n_saturated_carbocycles n_saturated_heterocyles n_saturated_rings"
).split()


def pm6_83m(folder: Path) -> Found:
    """Two of the parts, numbered in two digits: 62 columns of molecules and charges of atoms."""
    orders = {"CO": [3, 0, 1, 2, 4, 5], "O": [2, 1, 3]}
    values: dict[str, dict[str, float]] = {}
    atoms: dict[str, dict[str, list[float]]] = {}
    for part, (smiles, order) in enumerate(orders.items(), 1):
        heavy = {"CO": [0.2, -0.4], "O": [-0.6]}[smiles]
        charges = dict.fromkeys(order, 0.0) | dict(zip(order, heavy))
        row = {"ordered_smiles": mapped_smiles(smiles, order), "inchi": f"made {part}"}
        for k, state in enumerate(("S0", "T0", "cation", "anion")):
            row |= {f"graph_{state}_{name}": 0.5 for name in PM6_STATE}
            row |= {f"graph_{state}_alpha_homo": -10.0 - k, f"graph_{state}_alpha_gap": 9.0 + k}
        row |= {f"graph_{name}": 1.0 for name in PM6_GRAPH}
        row |= {"node_S0_charges_mulliken": [charges[number] for number in sorted(order)]}
        pq.write_table(pa.Table.from_pylist([row]), folder / f"pm6_processed_{part:02d}.parquet")
        values[smiles] = {"S0_alpha_homo": -10.0, "anion_alpha_gap": 12.0, "mw": 1.0}
        atoms[smiles] = {"atom_S0_charges_mulliken": heavy}
    return Found(2, set(orders), values, atoms)


# ----------------------------------------------------------------------- QMugs, GEOM, COMPAS


def qmugs(folder: Path) -> Found:
    """An SDF for each conformer in a folder for each molecule; lists between vertical lines."""
    members = {}
    values = {}
    for name, smiles, atoms in (("CHEMBL17564", "C", METHANE), ("CHEMBL1098659", "O", WATER)):
        homo = -0.40 if smiles == "C" else -0.35
        properties = {
            "CHEMBL_ID": name,
            "CONF_ID": "conf_00",
            "DFT:HOMO_ENERGY": homo,
            "DFT:LUMO_ENERGY": 0.15,
            "DFT:HOMO_LUMO_GAP": 0.15 - homo,
            "DFT:TOTAL_ENERGY": -40.5,
            "DFT:FORMATION_ENERGY": -0.6,
            "GFN2:HOMO_ENERGY": homo,
            "GFN2:LUMO_ENERGY": 0.1,
            "GFN2:HOMO_LUMO_GAP": 0.1 - homo,
            "GFN2:TOTAL_ENERGY": -4.2,
            "GFN2:FORMATION_ENERGY": -0.7,
            "DFT:DIPOLE": "0.1|0.2|0.3|0.37",
        }
        charges = "|".join(["-0.4", *["0.1"] * (len(atoms) - 1)])
        orders = "|".join(["0.97"] * (len(atoms) - 1))
        lists = {
            "DFT:MULLIKEN_CHARGES": charges,
            "DFT:LOWDIN_CHARGES": charges,
            "GFN2:MULLIKEN_CHARGES": charges,
            "DFT:WIBERG_LOWDIN_BOND_ORDER": orders,
            "GFN2:WIBERG_BOND_ORDER": orders,
        }
        text = molblock("", atoms)
        for key, value in (properties | lists).items():
            text += f">  <{key}>  (1) \n{value}\n\n"
        members[f"structures/{name}/conf_00.sdf"] = (text + "$$$$\n").encode()
        values[smiles] = {"homo": homo * HARTREE, "gap": (0.15 - homo) * HARTREE}
        values[smiles] |= {"gfn2_energy": -4.2 * HARTREE}
    with_tar(folder / "structures.tar.gz", members)
    given = {"C": distances(METHANE), "O": distances(WATER)}
    charges = {"charge_mulliken": [-0.4]}
    return Found(2, {"C", "O"}, values, {"C": charges, "O": charges}, given)


def geom_drugs(folder: Path) -> Found:
    """A stream of maps: SMILES to properties and conformers with rows of number, x, y, z."""
    import msgpack

    stream = b""
    for smiles, atoms in (("C", METHANE), ("O", WATER)):
        rows = [[float(NUMBER[e]), x, y, z] for e, x, y, z in atoms]
        conformer = {"xyz": rows, "geom_id": 1, "set": 1, "degeneracy": 1, "totalenergy": -5.0}
        conformer |= {"relativeenergy": 0.0, "boltzmannweight": 1.0, "conformerweights": [1.0]}
        record = {"conformers": [conformer], "totalconfs": 3, "temperature": 298.15}
        record |= {"uniqueconfs": 1, "lowestenergy": -5.0, "poplowestpct": 45.123}
        record |= {"ensembleenergy": 0.869, "ensembleentropy": 5.871, "ensemblefreeenergy": -1.75}
        stream += msgpack.packb({smiles: record | {"charge": 0, "datasets": ["plpro"]}})
    with_tar(folder / "4360331", {"drugs_crude.msgpack": stream})
    value = {
        "lowest_energy": -5.0 * HARTREE,
        "ensemble_energy": 0.869 * KCAL_MOL,
        "ensemble_entropy": 5.871,
        "ensemble_free_energy": -1.75 * KCAL_MOL,
        "unique_conformers": 1,
    }
    given = {"C": distances(METHANE), "O": distances(WATER)}
    return Found(2, {"C", "O"}, {"C": value, "O": value}, distances=given)


def compas_1d(folder: Path) -> Found:
    """COMPAS-1D.csv with the columns of its readme."""
    header = (
        "molecule,smiles,balaban_notation,augmented_lalas,lalas,HOMO_eV,LUMO_eV,GAP_eV,"
        "Dipmom_Debye,E_SCF_eV,Etot_eV,Etot_pos_eV,Etot_neg_eV,aEA_eV,aIP_eV,n_rings,Erel_eV"
    )
    rows = [
        "c6h6_0pent_1,c1ccccc1,,,,-6.7,0.1,6.8,0.0,-6310.1,-6310.6,-6301.5,-6311.6,-1.1,9.0,1,0.0",
        "c10h8_0pent_1,c1ccc2ccccc2c1,,,,-5.8,-0.95,4.85,0.0,-10480.2,-10481.1,-10473.2,-10481.3,"
        "-0.2,7.8,2,0.0",
        '"c14h10_0pent_1",c1ccc2cc3ccccc3cc2c1,"[L]",L,L,-5.2,-1.6,3.6,0.0,-14660,-14661.2,-14654,'
        "-14661.6,0.4,7.1,3,0.2",
    ]
    (folder / "COMPAS-1D.csv").write_text("\n".join([header, *rows]) + "\n")
    return Found(
        3,
        {"c1ccccc1", "c1ccc2ccccc2c1", "c1ccc2cc3ccccc3cc2c1"},
        {
            "c1ccccc1": {"aEA": -1.1, "aIP": 9.0, "dipole": 0.0, "gap": 6.8, "homo": -6.7},
            "c1ccc2cc3ccccc3cc2c1": {
                "aEA": 0.4,
                "dispersion": -1.2,
                "energy": -14661.2,
                "energy_relative": 0.2,
            },
        },
    )


# ---------------------------------------------------------------------------------- corpora


def zinc12k(folder: Path) -> Found:
    """smiles, SA, logp, score, packed."""
    text = "smiles,SA,logp,score\nCCO,1.98,-0.0014,-1.98\nc1ccccc1C,1.0,1.995,0.99\nCCO,1.98,0,-2\n"
    (folder / "ZINC12k.csv.gz").write_bytes(gzip.compress(text.encode()))
    values = {"CCO": {"SA": 1.98, "logp": -0.0014}, "Cc1ccccc1": {"score": 0.99}}
    # Ethanol stands twice: labels that belong to no geometry become their median.
    values["CCO"]["logp"] = -0.0007
    return Found(3, {"CCO", "Cc1ccccc1"}, values)


def zinc250k(folder: Path) -> Found:
    """Every SMILES ends with a line break inside its quotes."""
    rows = '"CCO\n",-0.0014,0.41,1.98\n"Cc1ccccc1\n",1.995,0.44,1.0\n'
    name = "250k_rndm_zinc_drugs_clean_3.csv"
    (folder / name).write_text("smiles,logP,qed,SAS\n" + rows)
    values = {"CCO": {"logP": -0.0014, "qed": 0.41}, "Cc1ccccc1": {"SAS": 1.0}}
    return Found(2, set(values), values)


def unimol(folder: Path) -> Found:
    """An LMDB of pickled records in a folder of an archive; valid.lmdb is not read."""
    import lmdb
    from rdkit import Chem
    from rdkit.Chem import rdDepictor

    given = {}
    for name, molecules in (("train", {"C": METHANE, "O": WATER}), ("valid", {"O": WATER})):
        environment = lmdb.open(str(folder / f"{name}.lmdb"), subdir=False, map_size=1 << 20)
        with environment.begin(write=True) as transaction:
            for k, (smiles, atoms) in enumerate(molecules.items()):
                coords = np.array([atom[1:] for atom in atoms], np.float32)
                drawn = Chem.AddHs(Chem.MolFromSmiles(smiles))
                rdDepictor.Compute2DCoords(drawn)
                flat = drawn.GetConformer().GetPositions()
                record = {
                    "atoms": [atom[0] for atom in atoms],
                    "coordinates": [coords, coords + 1, flat.astype(np.float32)],
                    "smi": smiles,
                }
                transaction.put(str(k).encode(), pickle.dumps(record, protocol=5))
                given[smiles] = distances(atoms)
        environment.close()
    members = {
        f"ligands/{name}.lmdb": (folder / f"{name}.lmdb").read_bytes()
        for name in ("train", "valid")
    }
    with_tar(folder / "ligands.tar.gz", members)
    return Found(2, {"C", "O"}, {}, distances=given)


def zinc20(folder: Path) -> Found:
    """Two tranches with a head line, columns separated by a blank."""
    (folder / "AAEA.smi").write_text("smiles zinc_id\nCCO 895457\nCC(C)O 901277\n")
    (folder / "ABEA.smi").write_text("smiles zinc_id\nCCCO 895969\n")
    return Found(3, {"CCO", "CC(C)O", "CCCO"}, {})
