"""Small files in the layouts in which public sets of biology and ADMET are handed out.

Header, delimiter, quotes, odd columns and empty lines are as documented; the molecules are real,
their values plausible, and only a few.
"""

from __future__ import annotations

import gzip
import io
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

UNREADABLE_ALUMINIUM = "CC(=O)O[AlH3](O)O"  # a row of Tox21
UNREADABLE_NITROGEN = "O=N([O-])C1=C(CN=C1NCCSCc2ncccc2)Cc3ccccc3"  # a row of BBBP
SMALL = ["CCO", "Oc1ccccc1", "CC(N)=O", "CCOC(C)=O", "c1ccncc1", "CCCCl"]


class Layout(NamedTuple):
    """A file as its source names it, and what a recipe must make of it."""

    recipe: str
    file: str
    content: bytes
    rows: int
    kept: int
    values: dict[str, list[float | None]]  # of some labels, in the order of the molecules kept
    ids: list[str] | None = None


def table(header: str, lines: Sequence[str], end: str = "\n") -> bytes:
    """The bytes of a table from its header and its lines."""
    return (end.join([header, *lines]) + end).encode()


def _tox21() -> list[Layout]:
    assays = (
        "NR-AR,NR-AR-LBD,NR-AhR,NR-Aromatase,NR-ER,NR-ER-LBD,NR-PPAR-gamma,SR-ARE,SR-ATAD5,"
        "SR-HSE,SR-MMP,SR-p53"
    )
    on, off = ",".join("1" * 12), ",".join("0" * 12)
    partly = "0,0,1,,,0,0,1,0,0,0,0"
    cells = [on, partly, off, off, off]
    smiles = ["CCO", "CCOc1ccc2nc(S(N)(=O)=O)sc2c1", "CC(N)=O", UNREADABLE_ALUMINIUM, "c1ccncc1"]
    values = {"NR-AhR": [1, 1, 0, 0], "NR-ER": [1, None, 0, 0]}
    toymix = [f"{s},{c}" for s, c in zip(smiles, cells, strict=True)]
    numbered = list(enumerate(zip(smiles, cells, strict=True)))
    moleculenet = [f"{c},TOX{i},{s}" for i, (s, c) in numbered]
    ids = ["TOX0", "TOX1", "TOX2", "TOX4"]
    return [
        Layout(
            "tox21",
            "Tox21-7k-12-labels.csv.gz",
            gzip.compress(table(f"smiles,{assays}", toymix)),
            5,
            4,
            values,
        ),
        Layout(
            "tox21",
            "tox21.csv.gz",
            gzip.compress(table(f"{assays},mol_id,smiles", moleculenet)),
            5,
            4,
            values,
            ids,
        ),
    ]


def _physical() -> list[Layout]:
    descriptors = "1,46.07,1,0,0,20.23"
    esol = [
        f"Ethanol,0.02,{descriptors},1.1,CCO ",  # the file has blanks behind some SMILES
        f'"Phenol, pure",-1.9,{descriptors},-0.04,Oc1ccccc1',
        f"Ethanol again,0.02,{descriptors},1.3,OCC",
    ]
    esol_header = (
        "Compound ID,ESOL predicted log solubility in mols per litre,Minimum Degree,"
        "Molecular Weight,Number of H-Bond Donors,Number of Rings,Number of Rotatable Bonds,"
        "Polar Surface Area,measured log solubility in mols per litre,smiles"
    )
    freesolv = ['"4-methoxy-N,N-dimethyl-benzamide",CN(C)C(=O)c1ccc(cc1)OC,-11.01,-9.625']
    freesolv += ["methanesulfonyl chloride,CS(=O)(=O)Cl,-4.87,-6.219"]
    lipophilicity = ["CHEMBL596271,3.54,Cn1c(CN2CCN(CC2)c3ccc(Cl)cc3)nc4ccccc14"]
    lipophilicity += ["CHEMBL14688,-0.3,CO"]
    return [
        Layout(
            "esol",
            "delaney-processed.csv",
            table(esol_header, esol),
            3,
            2,
            {"logS": [1.2, -0.04]},
            ["Ethanol", "Phenol, pure"],
        ),
        Layout(
            "freesolv",
            "SAMPL.csv",
            table("iupac,smiles,expt,calc", freesolv),
            2,
            2,
            {"expt": [-11.01, -4.87], "calc": [-9.625, -6.219]},
            ["4-methoxy-N,N-dimethyl-benzamide", "methanesulfonyl chloride"],
        ),
        Layout(
            "lipophilicity",
            "Lipophilicity.csv",
            table("CMPD_CHEMBLID,exp,smiles", lipophilicity),
            2,
            2,
            {"exp": [3.54, -0.3]},
            ["CHEMBL596271", "CHEMBL14688"],
        ),
    ]


def _aqsoldb() -> list[Layout]:
    header = (
        "ID,Name,InChI,InChIKey,SMILES,Solubility,SD,Occurrences,Group,MolWt,MolLogP,MolMR,"
        "HeavyAtomCount,NumHAcceptors,NumHDonors,NumHeteroatoms,NumRotatableBonds,"
        "NumValenceElectrons,NumAromaticRings,NumSaturatedRings,NumAliphaticRings,RingCount,TPSA,"
        "LabuteASA,BalabanJ,BertzCT"
    )
    descriptors = ",".join(["0.0"] * 17)
    # InChI and some names stand between quotes, since they hold commas
    benzoindole = '"InChI=1S/C11H7NO/c13-11-8-5-1-3-7-4-2-6-9(12-11)10(7)8/h1-6H,(H,12,13)"'
    lines = [
        f"A-4,Benzo[cd]indol-2(1H)-one,{benzoindole},GPYLCFQEKPUWLD-UHFFFAOYSA-N,"
        f"O=C1Nc2cccc3cccc1c23,-3.2547670983,0.0,1,G1,{descriptors}",
        f'B-1,"1,2-dichloroethane","InChI=1S/C2H4Cl2/c3-1-2-4/h1-2H2",WSLDOOZREJYCGB-UHFFFAOYSA-N,'
        f"ClCCCl,-1.06,0.1,2,G3,{descriptors}",
    ]
    solubilities = {"Solubility": [-3.2547670983, -1.06]}
    content = table(header, lines)
    return [Layout("aqsoldb", "data_curated.csv", content, 2, 2, solubilities, ["A-4", "B-1"])]


def _classes_of_moleculenet() -> list[Layout]:
    bace = ["CCO,BACE_1,1,Train,9.1549015,46.07", "Oc1ccccc1,BACE_2,0,Valid,5.5,94.1"]
    bace += ["c1ccncc1,BACE_3,0,Test,4.5,79.1", "CCCCl,BACE_4,1,Test,7.5,78.5"]
    bbbp = ["1,Propanolol,1,[Cl].CC(C)NCC(O)COc1cccc2ccccc12", f"62,15,1,{UNREADABLE_NITROGEN}"]
    bbbp += ["102,acetylsalicylate,0,CC(=O)Oc1ccccc1C(O)=O", "571,ethanol,1,CCO"]
    bbbp += ["1009,aspirin,1,C1=CC=CC(=C1C(O)=O)OC(C)=O", "2000,phenol,0,Oc1ccccc1"]
    clintox = ["CCO,1,0", "Oc1ccccc1,0,1", "CC(N)=O,1,0"]
    # the file of the S3 address: CR LF, and an empty line between any two rows
    hiv = ["", "CCO,CI,0", "", "Oc1ccccc1,CM,1", "", "CC(N)=O,CA,1"]
    return [
        Layout(
            "bace",
            "bace.csv",
            table("mol,CID,Class,Model,pIC50,MW", bace),
            4,
            4,
            {"Class": [1, 0, 0, 1], "pIC50": [9.1549015, 5.5, 4.5, 7.5]},
            ["BACE_1", "BACE_2", "BACE_3", "BACE_4"],
        ),
        # aspirin is of both classes: it stays, without a value
        Layout(
            "bbbp",
            "BBBP.csv",
            table("num,name,p_np,smiles", bbbp),
            6,
            4,
            {"p_np": [1, None, 1, 0]},
            ["1", "102", "571", "2000"],
        ),
        Layout(
            "clintox",
            "clintox.csv.gz",
            gzip.compress(table("smiles,FDA_APPROVED,CT_TOX", clintox)),
            3,
            3,
            {"FDA_APPROVED": [1, 0, 1], "CT_TOX": [0, 1, 0]},
        ),
        Layout(
            "hiv",
            "HIV.csv",
            table("smiles,activity,HIV_active", hiv, end="\r\n"),
            3,
            3,
            {"HIV_active": [0, 1, 1], "activity": [0, 1, 2]},
        ),
    ]


SIDER_CLASSES = (
    "Hepatobiliary disorders,Metabolism and nutrition disorders,Product issues,Eye disorders,"
    "Investigations,Musculoskeletal and connective tissue disorders,Gastrointestinal disorders,"
    "Social circumstances,Immune system disorders,Reproductive system and breast disorders,"
    '"Neoplasms benign, malignant and unspecified (incl cysts and polyps)",General disorders and '
    "administration site conditions,Endocrine disorders,Surgical and medical procedures,Vascular "
    "disorders,Blood and lymphatic system disorders,Skin and subcutaneous tissue disorders,"
    '"Congenital, familial and genetic disorders",Infections and infestations,"Respiratory, '
    'thoracic and mediastinal disorders",Psychiatric disorders,Renal and urinary disorders,'
    '"Pregnancy, puerperium and perinatal conditions",Ear and labyrinth disorders,Cardiac '
    'disorders,Nervous system disorders,"Injury, poisoning and procedural complications"'
)
MUV = "466 548 600 644 652 689 692 712 713 733 737 810 832 846 852 858 859".split()


def _many_labels() -> list[Layout]:
    on, off = ",".join("1" * 27), ",".join("0" * 27)
    sider = [f"C(CNCCNCCNCCN)N,{on}", f"CCO,{off}", f"Oc1ccccc1,{off[:-1]}1"]
    last = "Injury, poisoning and procedural complications"
    sider_values = {last: [1, 0, 1], "Eye disorders": [1, 0, 0]}
    rows = [",".join("1" * 17), ",".join("0" * 17), ",0" * 16]
    muv = [f"{cells},CID{i},{SMALL[i]}" for i, cells in enumerate(rows)]
    header = ",".join(f"MUV-{number}" for number in MUV) + ",mol_id,smiles"
    return [
        Layout(
            "sider",
            "sider.csv.gz",
            gzip.compress(table(f"smiles,{SIDER_CLASSES}", sider)),
            3,
            3,
            sider_values,
        ),
        Layout(
            "muv",
            "muv.csv.gz",
            gzip.compress(table(header, muv)),
            3,
            3,
            {"MUV-466": [1, 0, None], "MUV-859": [1, 0, 0]},
            ["CID0", "CID1", "CID2"],
        ),
    ]


def _biogen() -> list[Layout]:
    header = (
        "Internal ID,Vendor ID,SMILES,CollectionName,LOG HLM_CLint (mL/min/kg),"
        "LOG MDR1-MDCK ER (B-A/A-B),LOG SOLUBILITY PH 6.8 (ug/mL),"
        "LOG PLASMA PROTEIN BINDING (HUMAN) (% unbound),"
        "LOG PLASMA PROTEIN BINDING (RAT) (% unbound),LOG RLM_CLint (mL/min/kg)"
    )
    lines = [
        "Mol1,317714313,CCO,emolecules,0.675686709,1.493,0.0899,0.991,0.5185,1.392",
        "Mol2,324056965,Oc1ccccc1,emolecules,1.2,,0.55,,,1.027920136",
    ]
    values = {
        "HCLint": [0.675686709, 1.2],
        "PERM": [1.493, None],
        "SOLU": [0.0899, 0.55],
        "HPPB": [0.991, None],
    }
    content = table(header, lines)
    return [Layout("biogen_adme", "ADME_public_set_3521.csv", content, 2, 2, values)]


def l1000(cells: str, n_gene: int = 3) -> Layout:
    """A table of L1000: classes 0 to 4 of each gene, and a row without its structure."""
    genes = [str(780 + number) for number in range(n_gene)]
    header = "full_id,pert_id,cell_iname,SMILES,inchi_key,compound_aliases"
    header += "".join(f",geneID-{gene}" for gene in genes)
    smiles = ["CCO", "restricted", "Oc1ccccc1", "CC(N)=O"]
    lines = []
    for row, text in enumerate(smiles):
        classes = "".join(f",{(row + number) % 5}" for number in range(n_gene))
        lines.append(f"{cells}_{row},BRD-{row},{cells},{text},KEY,{classes}")
    values = {"geneID-780": [0, 2, 3], "geneID-782": [2, 4, 0]}
    file = f"LINCS_L1000_{cells}_0-4.csv.gz"
    ids = [f"{cells}_{row}" for row in (0, 2, 3)]
    content = gzip.compress(table(header, lines))
    return Layout(f"l1000_{cells.lower()}", file, content, 4, 3, values, ids)


def pcba(n_assay: int = 3) -> Layout:
    """A table of PubChem assays: 0 and 1 as floats, mostly empty."""
    smiles = SMALL[:4]
    columns: dict[str, list] = {"Unnamed: 0": [0, 1, 2, 3], "SMILES": smiles}
    for number in range(n_assay):
        columns[f"assayID-{1000 + number}"] = [0.0, 1.0, None, float(number % 2)]
    columns |= {"CID": [702.0, 996.0, 178.0, 8857.0], "SID": [None, 1.0, 2.0, 3.0]}
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    values = {"assayID-1000": [0, 1, None, 0], "assayID-1001": [0, 1, None, 1]}
    file = "PCBA_1328_1564k.parquet"
    return Layout("pcba_1328", file, content.getvalue(), 4, 4, values)


# The ADMET group of TDC: its numbers, and its classes.
TDC_NUMBERS = {
    "caco2_wang": [-4.8, -5.3, -6.1],
    "lipophilicity_astrazeneca": [3.54, -1.18, 2.0],
    "solubility_aqsoldb": [1.1, -0.04, 0.9],
    "vdss_lombardo": [0.5, 12.0, 3.4],
    "half_life_obach": [1.5, 40.0, 6.0],
    "clearance_microsome_az": [3.0, 150.0, 22.5],
    "clearance_hepatocyte_az": [3.0, 150.0, 18.0],
    "ld50_zhu": [2.3, 3.1, 1.9],
}
TDC_CLASSES = (
    "hia_hou pgp_broccatelli bioavailability_ma bbb_martins cyp2d6_veith cyp3a4_veith cyp2c9_veith "
    "cyp2d6_substrate_carbonmangels cyp3a4_substrate_carbonmangels cyp2c9_substrate_carbonmangels "
    "herg ames dili"
).split()


def tdc(name: str, delimiter: str = "\t") -> Layout:
    """A table of TDC as the Dataverse hands it out: texts between quotes, classes as floats."""
    values = TDC_NUMBERS.get(name, [1.0, 0.0, 1.0])
    quoted = delimiter == "\t"
    names = ["Drug_ID", "Drug", "Y"]
    drugs = ["Ethanol", "Phenol", "Acetamide"]
    rows = list(zip(drugs, SMALL[:3], values, strict=True))
    if quoted:
        names = [f'"{text}"' for text in names]
        rows = [(f'"{drug}"', f'"{smiles}"', value) for drug, smiles, value in rows]
    lines = [delimiter.join(map(str, row)) for row in rows]
    content = table(delimiter.join(names), lines)
    return Layout(f"tdc_{name}", f"{name}.tab", content, 3, 3, {name: values}, drugs)


def ppbr_az() -> Layout:
    """TDC's table of plasma protein binding: five species, of which one counts."""
    lines = [
        '"Ethanol"\t"CCO"\t12.5\t"Homo sapiens"',
        '"Ethanol"\t"CCO"\t40.0\t"Rattus norvegicus"',
        '"Phenol"\t"Oc1ccccc1"\t88.0\t"Homo sapiens"',
        '"Pyridine"\t"c1ccncc1"\t33.0\t"Canis lupus familiaris"',
    ]
    content = table('"Drug_ID"\t"Drug"\t"Y"\t"Species"', lines)
    values = {"ppbr_az": [12.5, 88.0]}
    return Layout("tdc_ppbr_az", "ppbr_az.tab", content, 4, 2, values, ["Ethanol", "Phenol"])


def biogen_paper(task: str, label: str, recipe: str) -> Layout:
    """Biogen's authors' division under one header, with a row of another endpoint."""
    lines = [f"CCO,{task},train,0.5", f"Oc1ccccc1,{task},test,1.5", "CC(N)=O,rPPB,train,2.0"]
    lines += [f"c1ccncc1,{task},train,0.7"]
    content = table("smiles,task,split,y", lines)
    return Layout(recipe, "biogen_adme_paper_splits.csv", content, 4, 3, {label: [0.5, 1.5, 0.7]})


LAYOUTS = [
    *_tox21(),
    *_physical(),
    *_aqsoldb(),
    *_classes_of_moleculenet(),
    *_many_labels(),
    *_biogen(),
    l1000("VCAP"),
    l1000("MCF7"),
    pcba(),
    *(tdc(name) for name in (*TDC_NUMBERS, *TDC_CLASSES)),
]
FILTERED = [
    ppbr_az(),
    biogen_paper("HLM", "HCLint", "biogen_hclint"),
    biogen_paper("MDR1_ER", "PERM", "biogen_perm"),
    biogen_paper("Sol", "SOLU", "biogen_solu"),
]
