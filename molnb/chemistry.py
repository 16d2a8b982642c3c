"""RDKit leaf functions: read a structure, reduce it to its neutral parent, name it, give it a 3D geometry.

Every function works on one molecule and raises ``Failure`` with a reason from a short fixed list; none returns None.
RDKit's own log is silenced only while a function runs. Everything is single threaded: curation is parallel over
molecules.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from rdkit import Chem, rdBase
from rdkit.Chem import rdDistGeom, rdForceFieldHelpers, rdMolHash
from rdkit.Chem.MolStandardize import rdMolStandardize

from .shapes import Float, Int

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
    "no force field parameters": "conformer",
    "force field failed": "conformer",
}

EV_PER_KCAL_MOL = 0.0433641043  # CODATA 2018: 4184 / (N_A e)
INPUT_INDEX = "molnb_input_index"  # atom property: index in the input, explicit hydrogens counted
MAX_ITERATIONS = 5000  # of the force field's minimiser; the share that needs more is reported, not hidden
MAX_TRIALS = 50  # distance geometry trials in one attempt
TIMEOUT_SECONDS = 60  # backstop far above what MAX_TRIALS take
CLASH_ANGSTROM = 0.5  # no two nuclei of a real molecule are closer (H2: 0.74)


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


class Conformer(NamedTuple):
    """A relaxed 3D geometry of all atoms: heavy atoms in SMILES order, then hydrogens as AddHs appends them."""

    coords: Float[np.ndarray, "atom xyz"]  # Å, centroid at the origin
    force_field: str  # "MMFF94", or "UFF" where MMFF94 has no parameters
    converged: bool
    energy: float  # eV, of the force field
    smiles_3d: str  # the stereoisomer this geometry is
    attempts: int


def _guarded(reason: str) -> Callable:
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


# ---------------------------------------------------------------------------------------------------- reading


@_guarded("unreadable structure")
def parse(smiles: str) -> Chem.Mol:
    """Read a SMILES string; each atom remembers its index in it through standardisation."""
    if not smiles or not smiles.strip():
        raise Failure("empty structure")
    params = Chem.SmilesParserParams()
    params.removeHs = False  # explicit hydrogens count in the input's numbering
    mol = Chem.MolFromSmiles(smiles, params)
    if mol is None:
        params.sanitize = False
        raise _why_unreadable(Chem.MolFromSmiles(smiles, params), repr(smiles[:80]))
    return _numbered(mol)


@_guarded("unreadable structure")
def parse_molblock(block: str) -> Chem.Mol:
    """Read an MDL mol block (one record of an SD file), likewise."""
    if not block or not block.strip():
        raise Failure("empty structure")
    mol = Chem.MolFromMolBlock(block, removeHs=False)
    if mol is None:
        raise _why_unreadable(Chem.MolFromMolBlock(block, removeHs=False, sanitize=False), "mol block")
    return _numbered(mol)


def _numbered(mol: Chem.Mol) -> Chem.Mol:
    if mol.GetNumAtoms() == 0:
        raise Failure("empty structure")
    for atom in mol.GetAtoms():
        atom.SetIntProp(INPUT_INDEX, atom.GetIdx())
    return mol


def _why_unreadable(unsanitised: Chem.Mol | None, given: str) -> Failure:
    if unsanitised is None:
        return Failure("unreadable structure", given)
    reasons = {"AtomValenceException": "impossible valence", "KekulizeException": "no Kekulé form",
               "AtomKekulizeException": "no Kekulé form"}  # fmt: skip
    for problem in Chem.DetectChemistryProblems(unsanitised):
        return Failure(reasons.get(problem.GetType(), "sanitisation failed"), problem.Message())
    return Failure("sanitisation failed", given)


# ------------------------------------------------------------------------------------------- the neutral parent

# Counter-ions and solvents that give way to any other organic fragment, as neutral SMILES without stereo.
# Acids, bases, solvents; after RDKit's fragmentPatterns and Salts.txt and the counter-ions named in
# Stahl & Wermuth, Handbook of Pharmaceutical Salts (2002), with picrate, frequent in the NCI set.
_SALTS_AND_SOLVENTS = """
    C(=O)O CC(=O)O OC(=O)C(F)(F)F CCC(=O)O OC(=O)C(=O)O OC(=O)CC(=O)O OC(=O)CCC(=O)O OC(=O)C=CC(=O)O OC(=O)CCCCC(=O)O
    OC(=O)C(O)C(O)C(=O)O OC(=O)CC(O)(CC(=O)O)C(=O)O CC(O)C(=O)O OCC(=O)O OC(=O)CC(O)C(=O)O OC(=O)C(O)c1ccccc1
    OC(=O)c1ccccc1 OC(=O)c1ccccc1O OC(=O)c1cccnc1 OCC(O)C(O)C(O)C(O)C(=O)O OC(=O)C1OC(O)C(O)C(O)C1O
    CS(=O)(=O)O CCS(=O)(=O)O OCCS(=O)(=O)O OS(=O)(=O)c1ccccc1 Cc1ccc(S(=O)(=O)O)cc1 OS(=O)(=O)C(F)(F)F
    OS(=O)(=O)CCS(=O)(=O)O OS(=O)(=O)NC1CCCCC1 OS(=O)(=O)c1ccc2ccccc2c1 OS(=O)(=O)c1cccc2c1cccc2S(=O)(=O)O
    CC1(C)C2CCC1(CS(=O)(=O)O)C(=O)C2 COS(=O)(=O)O CCOS(=O)(=O)O
    Oc1c([N+](=O)[O-])cc([N+](=O)[O-])cc1[N+](=O)[O-] CCCCCCCCCCCCOS(=O)(=O)O CCCCCCCCCCCCCCCC(=O)O
    CCCCCCCCCCCCCCCCCC(=O)O CCCCCCCCC=CCCCCCCCC(=O)O O=C(O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O
    OC(=O)O O=C=O C#N N#CS N=C=S N#CO N=C=O [C-]#[O+]
    CN CNC CN(C)C CCN CCNCC CCN(CC)CC CCN(C(C)C)C(C)C CC(C)(C)N C[N+](C)(C)C CC[N+](CC)(CC)CC
    CCCC[N+](CCCC)(CCCC)CCCC NCCO OCCNCCO OCCN(CCO)CCO CN(C)CCO C[N+](C)(C)CCO NC(CO)(CO)CO CNCC(O)C(O)C(O)C(O)CO
    NCCN C1CNCCN1 C1COCCN1 C1CCNCC1 C1CCNC1 C1CCC(NC2CCCCC2)CC1 NC1CCCCC1 NC(=N)N NCCCCC(N)C(=O)O N=C(N)NCCCC(N)C(=O)O
    NC(=N)NCCCC(N)C(=O)O c1ccncc1 c1c[nH]cn1
    CO CCO CCCO CC(C)O CCCCO CC(C)(C)O OCCO CC(C)=O CCC(C)=O CC#N CCOCC CC(C)OC(C)C COC(C)(C)C C1CCOC1 C1COCCO1
    COCCOC CCOC(C)=O COC(C)=O CN(C)C=O CC(=O)N(C)C CS(C)=O CN1CCCC1=O ClCCl ClC(Cl)Cl ClC(Cl)(Cl)Cl ClCCCl
    CCCCC CCCCCC CCCCCCC C1CCCCC1 C1CCCCCC1 c1ccccc1 Cc1ccccc1 Cc1ccccc1C Cc1cccc(C)c1 Cc1ccc(C)cc1 Clc1ccccc1
    C[N+](=O)[O-] CN(C)P(=O)(N(C)C)N(C)C S=C=S
"""


@functools.cache
def _salts_and_solvents() -> frozenset[str]:
    return frozenset(_flat_smiles(Chem.MolFromSmiles(smiles)) for smiles in _SALTS_AND_SOLVENTS.split())


@functools.cache
def _cleaning_steps() -> tuple[Callable, ...]:
    """RDKit's Cleanup, with its tables read once: metals disconnected, groups normalised, acids reionised."""
    disconnector, normalizer = rdMolStandardize.MetalDisconnector(), rdMolStandardize.Normalizer()
    return disconnector.Disconnect, normalizer.normalize, rdMolStandardize.Reionizer().reionize


@functools.cache
def _uncharger() -> rdMolStandardize.Uncharger:
    return rdMolStandardize.Uncharger()


def _flat_smiles(mol: Chem.Mol) -> str:
    return Chem.MolToSmiles(mol, isomericSmiles=False)


@_guarded("standardisation failed")
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
    if any(atom.GetAtomicNum() == 0 for atom in mol.GetAtoms()):
        raise Failure("dummy atom", "an atom * stands for no element")
    mol, cleared = _cleared(mol)
    mol, _ = _reread(mol)  # from here on nothing depends on how the input was written
    for clean in _cleaning_steps():
        mol = clean(mol)
    parent, removed = _parent(mol)
    parent, smiles = _fixed_point(Chem.RemoveHs(parent))
    if any(atom.GetAtomicNum() == 1 for atom in parent.GetAtoms()):
        raise Failure("hydrogen that cannot be implicit", smiles)
    if parent.GetNumAtoms() > max_heavy_atoms:
        raise Failure("over the size limit", f"{parent.GetNumAtoms()} heavy atoms, limit {max_heavy_atoms}")
    order = np.array([atom.GetIntProp(INPUT_INDEX) for atom in parent.GetAtoms()], dtype=np.int32)
    return Standard(smiles, order, parent, Chem.GetFormalCharge(parent), cleared, removed)


def _cleared(mol: Chem.Mol) -> tuple[Chem.Mol, int]:
    mol, cleared = Chem.Mol(mol), 0
    for atom in mol.GetAtoms():
        atom.SetAtomMapNum(0)
        if atom.GetIsotope():
            atom.SetIsotope(0)
            cleared += 1
    return Chem.RemoveHs(mol), cleared


def _reread(mol: Chem.Mol) -> tuple[Chem.Mol, str]:
    """The molecule as its own SMILES is read, atoms still knowing their input index, and that SMILES."""
    smiles = Chem.MolToSmiles(mol)
    params = Chem.SmilesParserParams()
    params.removeHs = False
    again = Chem.MolFromSmiles(smiles, params)
    if again is None or again.GetNumAtoms() != mol.GetNumAtoms():
        raise Failure("no stable SMILES", f"RDKit cannot read {smiles}, which it wrote")
    written = list(mol.GetPropsAsDict(True, True)["_smilesAtomOutputOrder"])
    old = mol.GetAtoms()
    for atom, source in zip(again.GetAtoms(), written, strict=True):
        atom.SetIntProp(INPUT_INDEX, old[source].GetIntProp(INPUT_INDEX))
    return again, smiles


def _fixed_point(mol: Chem.Mol) -> tuple[Chem.Mol, str]:
    """Reread until the SMILES no longer changes: writing and reading once is not always enough."""
    mol, smiles = _reread(mol)
    for _ in range(10):
        previous = smiles
        mol, smiles = _reread(mol)
        if smiles == previous:
            return mol, smiles
    raise Failure("no stable SMILES", smiles)


def _parent(mol: Chem.Mol) -> tuple[Chem.Mol, tuple[str, ...]]:
    """The one fragment that the structure is about, uncharged, and the SMILES of the others."""
    parts = Chem.GetMolFrags(mol, asMols=True)
    parts = [_uncharger().uncharge(part) for part in parts]
    smiles = [Chem.MolToSmiles(part) for part in parts]
    distinct = dict(zip(reversed(smiles), reversed(parts), strict=True))  # the first copy stays
    organic = {s: m for s, m in distinct.items() if any(a.GetAtomicNum() == 6 for a in m.GetAtoms())}
    salts = _salts_and_solvents() if len(organic) > 1 else frozenset()
    chosen = {s: m for s, m in organic.items() if _flat_smiles(m) not in salts} or organic or distinct
    if len(chosen) > 1:
        reason = "two organic parents" if organic else "no parent fragment"
        raise Failure(reason, ".".join(sorted(chosen)))
    ((parent_smiles, parent),) = chosen.items()
    removed = list(smiles)
    removed.remove(parent_smiles)
    return parent, tuple(sorted(removed))


# ------------------------------------------------------------------------------------------------- names and keys


def _hashed(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


@_guarded("standardisation failed")
def keys(mol: Chem.Mol) -> tuple[str, str]:
    """Two keys under which stereoisomers, protomers and (most) tautomers of a molecule fall together.

    The first block of the InChIKey, and a hash of RDKit's HetAtomTautomerv2. Where InChI refuses a structure, the
    first is a hash of the SMILES without stereo, marked by a leading "-", so that such molecules do not meet.
    """
    flat = Chem.Mol(mol)
    Chem.RemoveStereochemistry(flat)
    flat = _uncharger().uncharge(flat)
    inchikey = Chem.MolToInchiKey(mol)
    connectivity = inchikey[:14] if inchikey else "-" + _hashed(_flat_smiles(flat))[:13]
    return connectivity, _hashed(rdMolHash.MolHash(flat, rdMolHash.HashFunction.HetAtomTautomerv2))


@_guarded("standardisation failed")
def scaffold(mol: Chem.Mol) -> str:
    """SMILES of the Murcko scaffold (rings, linkers, their exocyclic double bonds) without stereo.

    Empty for acyclic molecules. Source: Bemis & Murcko, J. Med. Chem. 39, 2887 (1996), as RDKit reads it.
    """
    smiles = _flat_smiles(Chem.MurckoDecompose(mol))
    again = Chem.MolFromSmiles(smiles)  # twice written: equal scaffolds of different molecules become equal strings
    return smiles if again is None else _flat_smiles(again)


@_guarded("standardisation failed")
def undefined_stereo(mol: Chem.Mol) -> int:
    """Number of potential stereo centres and double bonds that the structure leaves open."""
    return sum(info.specified == Chem.StereoSpecified.Unspecified for info in Chem.FindPotentialStereo(mol))


@_guarded("standardisation failed")
def mirror(smiles: str) -> str:
    """Canonical SMILES of the mirror image; the same SMILES for an achiral molecule."""
    return _fixed_point(_mirrored(Chem.MolFromSmiles(smiles)))[1]


def _mirrored(mol: Chem.Mol) -> Chem.Mol:
    mol = _numbered(Chem.Mol(mol))
    for atom in mol.GetAtoms():
        atom.InvertChirality()
    return mol


# ----------------------------------------------------------------------------------------------------- geometry


@_guarded("embedding failed")
def embed(molecule: str | Chem.Mol, seed: int = 0, attempts: int = 4) -> Conformer:
    """Give a molecule one relaxed conformer: ETKDGv3, then MMFF94, or UFF where MMFF94 has no parameters.

    The random seed comes from the canonical SMILES, so any spelling of a molecule gets the same geometry. Of two
    enantiomers only the one whose SMILES sorts first is embedded; the other gets its exact mirror image. Each further
    attempt starts from random coordinates. Sources: Wang, Witek, Landrum & Riniker, J. Chem. Inf. Model. 60, 2044
    (2020); Halgren, J. Comput. Chem. 17, 490 (1996); Rappé et al., J. Am. Chem. Soc. 114, 10024 (1992).
    """
    smiles = Chem.MolToSmiles(molecule) if isinstance(molecule, Chem.Mol) else molecule
    mol = Chem.MolFromSmiles(smiles)
    if mol is None or "." in smiles:
        raise Failure("embedding failed", f"not one readable fragment: {smiles[:80]}")
    source, placed = mol, None
    if "@" in smiles:
        image, image_smiles = _fixed_point(_mirrored(mol))
        if image_smiles < smiles:
            smiles, source = image_smiles, image
            placed = np.array([atom.GetIntProp(INPUT_INDEX) for atom in image.GetAtoms()])
    source = Chem.AddHs(source)
    tried = _embed_source(source, smiles, seed, attempts)
    energy, converged, force_field = _relax(source)
    coords = _checked(source.GetConformer().GetPositions())
    complete = Chem.AddHs(mol)
    if placed is not None:
        coords = _reflected(coords, source, complete, placed)
    smiles_3d = _read_back(mol, complete, coords)
    coords = (coords - coords.mean(axis=0)).astype(np.float32)
    return Conformer(coords, force_field, converged, energy * EV_PER_KCAL_MOL, smiles_3d, tried)


def _embed_source(mol: Chem.Mol, smiles: str, seed: int, attempts: int) -> int:
    """Set a distance geometry conformer on the molecule with hydrogens; returns the attempt that succeeded."""
    params = rdDistGeom.ETKDGv3()
    params.maxIterations, params.timeout, params.numThreads = MAX_TRIALS, TIMEOUT_SECONDS, 1
    error = ""
    for attempt in range(attempts):
        digest = hashlib.blake2b(f"{seed} {attempt} {smiles}".encode(), digest_size=4).digest()
        params.randomSeed = int.from_bytes(digest, "little") >> 1  # RDKit takes 31 bits
        params.useRandomCoords = attempt > 0
        start = time.monotonic()
        try:
            if rdDistGeom.EmbedMolecule(mol, params) == 0:
                return attempt + 1
        except (RuntimeError, ValueError) as raised:  # for instance "bad lower bound": another start may do
            error = " ".join(str(raised).split())[:120]
        if time.monotonic() - start >= TIMEOUT_SECONDS:
            raise Failure("embedding timed out (machine-dependent)", f"{TIMEOUT_SECONDS} s in attempt {attempt + 1}")
    raise Failure("embedding failed", f"{attempts} attempts of {MAX_TRIALS} trials {error}".strip())


def _relax(mol: Chem.Mol) -> tuple[float, bool, str]:
    """Minimise the conformer in place: energy in kcal/mol, converged, name of the force field."""
    properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(mol)
    if properties is not None:
        name, field = "MMFF94", rdForceFieldHelpers.MMFFGetMoleculeForceField(mol, properties)
    elif rdForceFieldHelpers.UFFHasAllMoleculeParams(mol):
        name, field = "UFF", rdForceFieldHelpers.UFFGetMoleculeForceField(mol)
    else:
        raise Failure("no force field parameters", "neither MMFF94 nor UFF knows all atoms")
    try:
        field.Initialize()
        converged = field.Minimize(maxIts=MAX_ITERATIONS) == 0
        return field.CalcEnergy(), converged, name
    except RuntimeError as error:
        raise Failure("force field failed", f"{name}: {' '.join(str(error).split())[:120]}") from error


def _checked(coords: np.ndarray) -> np.ndarray:
    """Refuse coordinates that are no geometry: not finite, or with nuclei on top of each other."""
    squared = np.sum((coords[:, None] - coords[None]) ** 2, axis=-1)
    np.fill_diagonal(squared, np.inf)
    if not np.isfinite(coords).all() or squared.min(initial=np.inf) < CLASH_ANGSTROM**2:
        raise Failure("force field failed", "coordinates are not finite, or two atoms coincide")
    return coords


def _hydrogens(mol: Chem.Mol) -> list[list[int]]:
    heavy = [atom for atom in mol.GetAtoms() if atom.GetAtomicNum() != 1]
    return [[n.GetIdx() for n in atom.GetNeighbors() if n.GetAtomicNum() == 1] for atom in heavy]


def _reflected(coords: np.ndarray, source: Chem.Mol, target: Chem.Mol, placed: Int[np.ndarray, " atom"]) -> np.ndarray:
    """The mirror image of a geometry, in the atom order of the other enantiomer."""
    image = np.empty_like(coords)
    image[placed] = coords[: len(placed)]
    there = _hydrogens(target)
    for atom, indices in enumerate(_hydrogens(source)):
        image[there[placed[atom]]] = coords[indices]
    image[:, 0] *= -1
    return image


def _read_back(mol: Chem.Mol, complete: Chem.Mol, coords: np.ndarray) -> str:
    """SMILES of the stereoisomer that the geometry is; drawn stereo must still be there."""
    if not Chem.FindPotentialStereo(mol):
        return Chem.MolToSmiles(mol)
    seen = Chem.Mol(complete)
    seen.RemoveAllConformers()
    conformer = Chem.Conformer(seen.GetNumAtoms())
    conformer.SetPositions(np.ascontiguousarray(coords))
    seen.AddConformer(conformer, assignId=True)
    Chem.AssignStereochemistryFrom3D(seen)
    none = Chem.ChiralType.CHI_UNSPECIFIED
    tags = [(a.GetChiralTag(), b.GetChiralTag()) for a, b in zip(mol.GetAtoms(), seen.GetAtoms(), strict=False)]
    turned = [drawn != found for drawn, found in tags if none not in (drawn, found)]
    ends = [(a.GetStereo(), b.GetStereo()) for a, b in zip(mol.GetBonds(), seen.GetBonds(), strict=False)]
    cis_trans = (Chem.BondStereo.STEREOZ, Chem.BondStereo.STEREOE)
    turned += [drawn != found for drawn, found in ends if drawn in cis_trans and found in cis_trans]
    if any(turned):
        raise Failure("stereo not kept", f"{sum(turned)} centres or bonds of {len(turned)} were turned over")
    seen = Chem.RemoveHs(seen)
    seen.RemoveAllConformers()
    return Chem.MolToSmiles(Chem.MolFromSmiles(Chem.MolToSmiles(seen)))
