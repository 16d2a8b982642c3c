"""Read a structure and reduce it to its neutral parent, whose canonical SMILES decides everything that follows.

``chemistry`` offers these functions together with the others; here is also what they share: ``Failure``, its reasons,
and the guard that turns whatever RDKit raises into one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem.MolStandardize import rdMolStandardize

REASONS = {  # reason -> the step it belongs to
    "empty structure": "parse",
    "unreadable structure": "parse",
    "impossible valence": "parse",
    "no Kekulé form": "parse",
    "sanitisation failed": "parse",
    "dummy atom": "standardise",
    "no heavy atoms": "standardise",
    "no parent fragment": "standardise",
    "two organic parents": "standardise",
    "over the size limit": "standardise",
    "hydrogen that cannot be implicit": "standardise",
    "standardisation failed": "standardise",
    "no stable SMILES": "standardise",
    "embedding failed": "conformer",
    "embedding timed out (machine-dependent)": "conformer",
    "stereo not kept": "conformer",
    "no 3D coordinates": "conformer",
    "no force field parameters": "conformer",
    "force field failed": "conformer",
}

INPUT_INDEX = "molnb_input_index"  # atom property: index in the input, explicit hydrogens counted


class Failure(Exception):
    """A molecule that cannot be used: the step, the reason (one of REASONS) and a detail with the numbers."""

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)  # these arguments make it picklable
        self.step, self.reason, self.detail = REASONS[reason], reason, detail

    def __str__(self) -> str:
        return f"{self.step}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


class Standard(NamedTuple):
    """The neutral parent of a structure, in the atom order of its canonical isomeric SMILES."""

    smiles: str
    order: np.ndarray  # int32 [n_heavy]: input index of each atom
    mol: Chem.Mol  # MolFromSmiles(smiles)
    charge: int  # what no proton could neutralise
    cleared_isotopes: int  # atoms that carried an isotope label
    removed: tuple[str, ...]  # other fragments of the input: salts, solvents, ions, further copies


def guarded(reason: str) -> Callable:
    """Keep RDKit quiet during a call, and turn whatever it raises into a Failure of this reason."""

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def call(*args, **kwargs):
            silence = rdBase.BlockLogs()
            try:
                return function(*args, **kwargs)
            except Failure:
                raise
            except Exception as error:  # RDKit raises RuntimeError ("Invariant Violation"), ValueError and its own
                text = " ".join(str(error).split())
                raise Failure(reason, f"{type(error).__name__}: {text[:200]}") from error
            finally:
                del silence

        return call

    return decorate


def atoms(mol: Chem.Mol) -> list[Chem.Atom]:
    """All atoms in order; several times faster than iterating over ``mol.GetAtoms()``, which checks every step."""
    return [mol.GetAtomWithIdx(i) for i in range(mol.GetNumAtoms())]


@functools.cache
def _with_hydrogens() -> Chem.SmilesParserParams:
    """Explicit hydrogens stay atoms: they count in the input's numbering."""
    params = Chem.SmilesParserParams()
    params.removeHs = False
    return params


@functools.cache
def _hydrogens_to_remove() -> Chem.RemoveHsParameters:
    params = Chem.RemoveHsParameters()
    params.removeDefiningBondStereo = True  # of an imine C=N-H, written with its hydrogen in many databases
    params.removeNontetrahedralNeighbors = True
    return params


def without_hydrogens(mol: Chem.Mol) -> Chem.Mol:
    """The molecule with all hydrogens implicit that can be; an imine loses the stereo that only its N-H defines."""
    return Chem.RemoveHs(mol, _hydrogens_to_remove())


@guarded("unreadable structure")
def parse(smiles: str) -> Chem.Mol:
    """Read a SMILES string; each atom remembers its index in it through standardisation."""
    if not smiles or not smiles.strip():
        raise Failure("empty structure")
    mol = Chem.MolFromSmiles(smiles, _with_hydrogens())
    if mol is None:
        raise _why_unreadable(Chem.MolFromSmiles(smiles, sanitize=False), repr(smiles[:80]))
    return numbered(mol)


@guarded("unreadable structure")
def parse_molblock(block: str) -> Chem.Mol:
    """Read an MDL mol block (one record of an SD file), likewise."""
    if not block or not block.strip():
        raise Failure("empty structure")
    mol = Chem.MolFromMolBlock(block, removeHs=False)
    if mol is None:
        raise _why_unreadable(Chem.MolFromMolBlock(block, removeHs=False, sanitize=False), "mol block")
    return numbered(mol)


def numbered(mol: Chem.Mol) -> Chem.Mol:
    """The same molecule, each atom carrying its index."""
    if mol.GetNumAtoms() == 0:
        raise Failure("empty structure")
    for i, atom in enumerate(atoms(mol)):
        atom.SetIntProp(INPUT_INDEX, i)
    return mol


def _why_unreadable(unsanitised: Chem.Mol | None, given: str) -> Failure:
    if unsanitised is None:
        return Failure("unreadable structure", given)
    reasons = {"AtomValenceException": "impossible valence", "KekulizeException": "no Kekulé form",
               "AtomKekulizeException": "no Kekulé form"}  # fmt: skip
    for problem in Chem.DetectChemistryProblems(unsanitised):
        return Failure(reasons.get(problem.GetType(), "sanitisation failed"), problem.Message())
    return Failure("sanitisation failed", given)


# Fragments that give way to any other organic fragment, and are the molecule only when nothing else is there; neutral
# and without stereo, which is how they are compared. After RDKit's fragmentPatterns and Salts.txt and Stahl & Wermuth,
# Handbook of Pharmaceutical Salts (2002), with picrates and amine soaps, which old collections hold.
CARBOXYLIC_ACIDS = """
    C(=O)O CC(=O)O OC(=O)C(F)(F)F CCC(=O)O OC(=O)C(=O)O OC(=O)CC(=O)O OC(=O)CCC(=O)O OC(=O)C=CC(=O)O OC(=O)CCCCC(=O)O
    OC(=O)C(O)C(O)C(=O)O OC(=O)CC(O)(CC(=O)O)C(=O)O CC(O)C(=O)O OCC(=O)O OC(=O)CC(O)C(=O)O OC(=O)C(O)c1ccccc1
    OC(=O)c1ccccc1 OC(=O)c1ccccc1O OC(=O)c1cccnc1 OCC(O)C(O)C(O)C(O)C(=O)O OCC(O)C(O)C(O)C(O)C(O)C(=O)O
    OC(=O)C1OC(O)C(O)C(O)C1O OC(=O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O CCCCCCCCCCCC(=O)O
    CCCCCCCCCCCCCCCC(=O)O CCCCCCCCCCCCCCCCCC(=O)O CCCCCCCCC=CCCCCCCCC(=O)O
"""
OTHER_ACIDS = """
    CS(=O)(=O)O CCS(=O)(=O)O OCCS(=O)(=O)O OS(=O)(=O)CCS(=O)(=O)O OS(=O)(=O)C(F)(F)F CC1(C)C2CCC1(CS(=O)(=O)O)C(=O)C2
    OS(=O)(=O)c1ccccc1 Cc1ccc(S(=O)(=O)O)cc1 OS(=O)(=O)c1ccc(Cl)cc1 OS(=O)(=O)c1cccc([N+](=O)[O-])c1
    OS(=O)(=O)c1ccc2ccccc2c1 OS(=O)(=O)c1cccc2c1cccc2S(=O)(=O)O OS(=O)(=O)NC1CCCCC1
    COS(=O)(=O)O CCOS(=O)(=O)O CCCCCCCCCCCCOS(=O)(=O)O Oc1c([N+](=O)[O-])cc([N+](=O)[O-])cc1[N+](=O)[O-]
"""
BASES = """
    CN CNC CN(C)C CCN CCNCC CCN(CC)CC CCN(C(C)C)C(C)C CC(C)(C)N NCCN C1CNCCN1 C1COCCN1 C1CCNCC1 C1CCNC1 NC1CCCCC1
    C1CCC(NC2CCCCC2)CC1 NCCO OCCNCCO OCCN(CCO)CCO CN(C)CCO NC(CO)(CO)CO CC(C)(N)CO CC(N)(CO)CO
    CNCC(O)C(O)C(O)C(O)CO NC(=N)N NCCCCC(N)C(=O)O NC(=N)NCCCC(N)C(=O)O c1ccncc1 c1c[nH]cn1
    C[N+](C)(C)C CC[N+](CC)(CC)CC CCCC[N+](CCCC)(CCCC)CCCC C[N+](C)(C)CCO
"""
SOLVENTS = """
    CO CCO CCCO CC(C)O CCCCO CC(C)(C)O OCCO OCC(O)CO CC(C)=O CCC(C)=O C=O CC#N C[N+](=O)[O-]
    CCOCC CC(C)OC(C)C COC(C)(C)C C1CCOC1 C1COCCO1 COCCOC CCOC(C)=O COC(C)=O CN(C)C=O CC(=O)N(C)C CS(C)=O CN1CCCC1=O
    CN(C)P(=O)(N(C)C)N(C)C ClCCl ClC(Cl)Cl ClC(Cl)(Cl)Cl ClCCCl Clc1ccccc1
    CCCCC CCCCCC CCCCCCC C1CCCCC1 C1CCCCCC1 c1ccccc1 Cc1ccccc1 Cc1ccccc1C Cc1cccc(C)c1 Cc1ccc(C)cc1
"""
INORGANIC_CARBON = "OC(=O)O O=C=O [C-]#[O+] C#N N#CS N=C=S N#CO N=C=O S=C=S"  # carbon, but not organic
SALTS_AND_SOLVENTS = " ".join((CARBOXYLIC_ACIDS, OTHER_ACIDS, BASES, SOLVENTS)).split()

# Metals are disconnected from what binds them as ions do. Bonds to carbon stay: cut, ferrocene would leave radicals.
_METAL_BONDS = (
    "[Al,Sc,Ti,V,Cr,Mn,Fe,Co,Ni,Cu,Zn,Y,Zr,Nb,Mo,Tc,Ru,Rh,Pd,Ag,Cd,Hf,Ta,W,Re,Os,Ir,Pt,Au]~[P,As,Sb,S,Se,Te,Cl,Br,I]"
)
# RDKit writes a sulfoxide as S+-O-; most databases, and MMFF94's paper, draw it with a double bond.
_SULFOXIDE = "Sulfoxide to S=O\t[!O:1][S+1;X3:2]([O-1:3])[!O:4]>>[*:1][S+0:2](=[O+0:3])[*:4]"


@functools.cache
def _cleaning_steps() -> tuple[Callable, ...]:
    """RDKit's Cleanup, with its tables read once: metals disconnected, groups normalised, acids reionised."""
    disconnector = rdMolStandardize.MetalDisconnector()
    disconnector.SetMetalNon(Chem.MolFromSmarts(_METAL_BONDS))
    sulfoxide = rdMolStandardize.NormalizerFromData(_SULFOXIDE, rdMolStandardize.CleanupParameters())
    return (  # in place, because only so the atoms keep their properties
        disconnector.DisconnectInPlace,
        rdMolStandardize.Normalizer().normalizeInPlace,
        sulfoxide.normalizeInPlace,
        rdMolStandardize.Reionizer().reionizeInPlace,
    )


@functools.cache
def _accompanying() -> tuple[frozenset[str], frozenset[str]]:
    """Salts and solvents, and carbon compounds that count as inorganic, as canonical SMILES without stereo."""
    lists = SALTS_AND_SOLVENTS, INORGANIC_CARBON.split()
    return tuple(frozenset(flat_smiles(Chem.MolFromSmiles(smiles)) for smiles in each) for each in lists)


@functools.cache
def uncharger() -> rdMolStandardize.Uncharger:
    """RDKit's neutraliser, made once."""
    return rdMolStandardize.Uncharger()


def flat_smiles(mol: Chem.Mol) -> str:
    """Canonical SMILES without stereo."""
    return Chem.MolToSmiles(mol, isomericSmiles=False)


@guarded("standardisation failed")
def standardise(mol: Chem.Mol, max_heavy_atoms: int = 64) -> Standard:
    """Reduce a structure to its neutral parent fragment, in canonical order.

    Isotope labels and atom maps are cleared, metals disconnected, groups normalised; counter-ions, solvents and
    inorganic fragments removed, identical copies counted once; charges neutralised by protons where they can be
    (a quaternary ammonium stays charged, a nitro group or a betaine zwitterionic).
    """
    n_heavy = mol.GetNumHeavyAtoms()
    if n_heavy == 0:
        raise Failure("no heavy atoms", f"{mol.GetNumAtoms()} atoms, all hydrogen")
    if n_heavy > max(1000, max_heavy_atoms):  # standardising these would take seconds
        raise Failure("over the size limit", f"{n_heavy} heavy atoms in all fragments, limit {max_heavy_atoms}")
    if any(atom.GetAtomicNum() == 0 for atom in atoms(mol)):
        raise Failure("dummy atom", "an atom * stands for no element")
    mol, cleared = _cleared(mol)
    mol, _ = reread(mol)  # from here on nothing depends on how the input was written
    for clean in _cleaning_steps():
        clean(mol)
    parent, removed = _parent(mol)
    parent, smiles = fixed_point(without_hydrogens(parent))
    if any(atom.GetAtomicNum() == 1 for atom in atoms(parent)):
        raise Failure("hydrogen that cannot be implicit", smiles)
    if parent.GetNumAtoms() > max_heavy_atoms:
        raise Failure("over the size limit", f"{parent.GetNumAtoms()} heavy atoms, limit {max_heavy_atoms}")
    order = np.array([atom.GetIntProp(INPUT_INDEX) for atom in atoms(parent)], dtype=np.int32)
    return Standard(smiles, order, parent, Chem.GetFormalCharge(parent), cleared, removed)


def _cleared(mol: Chem.Mol) -> tuple[Chem.Mol, int]:
    mol, cleared = Chem.Mol(mol), 0
    for atom in atoms(mol):
        atom.SetAtomMapNum(0)
        if atom.GetIsotope():
            atom.SetIsotope(0)
            cleared += 1
    return without_hydrogens(mol), cleared


def reread(mol: Chem.Mol) -> tuple[Chem.Mol, str]:
    """The molecule as its own SMILES is read, atoms still knowing their input index, and that SMILES."""
    smiles = Chem.MolToSmiles(mol)
    again = Chem.MolFromSmiles(smiles, _with_hydrogens())
    if again is None or again.GetNumAtoms() != mol.GetNumAtoms():
        raise Failure("no stable SMILES", f"RDKit cannot read {smiles}, which it wrote")
    written = mol.GetProp("_smilesAtomOutputOrder")[1:-1].strip(",").split(",")
    for atom, source in zip(atoms(again), written, strict=True):
        atom.SetIntProp(INPUT_INDEX, mol.GetAtomWithIdx(int(source)).GetIntProp(INPUT_INDEX))
    return again, smiles


def fixed_point(mol: Chem.Mol) -> tuple[Chem.Mol, str]:
    """Reread until the SMILES no longer changes: writing and reading once is not always enough."""
    for _ in range(10):
        mol, smiles = reread(mol)
        if Chem.MolToSmiles(mol) == smiles:
            return mol, smiles
    raise Failure("no stable SMILES", smiles)


def _parent(mol: Chem.Mol) -> tuple[Chem.Mol, tuple[str, ...]]:
    """The one fragment that the structure is about, uncharged, and the SMILES of the others."""
    parts = list(Chem.GetMolFrags(mol, asMols=True))
    for part in parts:
        uncharger().unchargeInPlace(part)
    smiles = [Chem.MolToSmiles(part) for part in parts]
    distinct = dict(zip(reversed(smiles), reversed(parts), strict=True))  # the first copy stays
    chosen = _most_organic(distinct) if len(distinct) > 1 else distinct
    ((parent_smiles, parent),) = chosen.items()
    removed = list(smiles)
    removed.remove(parent_smiles)
    return parent, tuple(sorted(removed))


def _most_organic(distinct: dict[str, Chem.Mol]) -> dict[str, Chem.Mol]:
    salts, inorganic = _accompanying()
    flat = {smiles: flat_smiles(part) for smiles, part in distinct.items()}
    carbon = [s for s, part in distinct.items() if any(atom.GetAtomicNum() == 6 for atom in atoms(part))]
    organic = [s for s in carbon if flat[s] not in inorganic] or carbon
    chosen = [s for s in organic if flat[s] not in salts] or organic
    if not chosen:
        raise Failure("no parent fragment", "only inorganic: " + ".".join(sorted(distinct)))
    if len(chosen) > 1:
        raise Failure("two organic parents", ".".join(sorted(chosen)))
    return {chosen[0]: distinct[chosen[0]]}
