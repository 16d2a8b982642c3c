"""Counter-ions, solvents and inorganic carbon that accompany a molecule without being it."""

from __future__ import annotations

# Fragments that give way to any other organic fragment, and are the molecule only when nothing else
# is there; neutral and without stereo, which is how they are compared. After RDKit's
# fragmentPatterns and Salts.txt and Stahl & Wermuth, Handbook of Pharmaceutical Salts (2002), with
# picrates and amine soaps, which old collections hold.
CARBOXYLIC_ACIDS = """
    C(=O)O CC(=O)O OC(=O)C(F)(F)F CCC(=O)O OC(=O)C(=O)O OC(=O)CC(=O)O OC(=O)CCC(=O)O
    OC(=O)C=CC(=O)O OC(=O)CCCCC(=O)O OC(=O)C(O)C(O)C(=O)O OC(=O)CC(O)(CC(=O)O)C(=O)O CC(O)C(=O)O
    OCC(=O)O OC(=O)CC(O)C(=O)O OC(=O)C(O)c1ccccc1 OC(=O)c1ccccc1 OC(=O)c1ccccc1O OC(=O)c1cccnc1
    OCC(O)C(O)C(O)C(O)C(=O)O OCC(O)C(O)C(O)C(O)C(O)C(=O)O OC(=O)C1OC(O)C(O)C(O)C1O
    OC(=O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O CCCCCCCCCCCC(=O)O CCCCCCCCCCCCCCCC(=O)O
    CCCCCCCCCCCCCCCCCC(=O)O CCCCCCCCC=CCCCCCCCC(=O)O
"""
OTHER_ACIDS = """
    CS(=O)(=O)O CCS(=O)(=O)O OCCS(=O)(=O)O OS(=O)(=O)CCS(=O)(=O)O OS(=O)(=O)C(F)(F)F
    CC1(C)C2CCC1(CS(=O)(=O)O)C(=O)C2 OS(=O)(=O)c1ccccc1 Cc1ccc(S(=O)(=O)O)cc1
    OS(=O)(=O)c1ccc(Cl)cc1 OS(=O)(=O)c1cccc([N+](=O)[O-])c1 OS(=O)(=O)c1ccc2ccccc2c1
    OS(=O)(=O)c1cccc2c1cccc2S(=O)(=O)O OS(=O)(=O)NC1CCCCC1 COS(=O)(=O)O CCOS(=O)(=O)O
    CCCCCCCCCCCCOS(=O)(=O)O Oc1c([N+](=O)[O-])cc([N+](=O)[O-])cc1[N+](=O)[O-]
"""
BASES = """
    CN CNC CN(C)C CCN CCNCC CCN(CC)CC CCN(C(C)C)C(C)C CC(C)(C)N NCCN C1CNCCN1 C1COCCN1 C1CCNCC1
    C1CCNC1 NC1CCCCC1 C1CCC(NC2CCCCC2)CC1 NCCO OCCNCCO OCCN(CCO)CCO CN(C)CCO NC(CO)(CO)CO
    CC(C)(N)CO CC(N)(CO)CO CNCC(O)C(O)C(O)C(O)CO NC(=N)N NCCCCC(N)C(=O)O NC(=N)NCCCC(N)C(=O)O
    c1ccncc1 c1c[nH]cn1 C[N+](C)(C)C CC[N+](CC)(CC)CC CCCC[N+](CCCC)(CCCC)CCCC C[N+](C)(C)CCO
"""
SOLVENTS = """
    CO CCO CCCO CC(C)O CCCCO CC(C)(C)O OCCO OCC(O)CO CC(C)=O CCC(C)=O C=O CC#N C[N+](=O)[O-]
    CCOCC CC(C)OC(C)C COC(C)(C)C C1CCOC1 C1COCCO1 COCCOC CCOC(C)=O COC(C)=O CN(C)C=O CC(=O)N(C)C
    CS(C)=O CN1CCCC1=O CN(C)P(=O)(N(C)C)N(C)C ClCCl ClC(Cl)Cl ClC(Cl)(Cl)Cl ClCCCl Clc1ccccc1
    CCCCC CCCCCC CCCCCCC C1CCCCC1 C1CCCCCC1 c1ccccc1 Cc1ccccc1 Cc1ccccc1C Cc1cccc(C)c1
    Cc1ccc(C)cc1
"""
# Carbon, but not organic.
INORGANIC_CARBON = "OC(=O)O O=C=O [C-]#[O+] C#N N#CS N=C=S N#CO N=C=O S=C=S".split()
SALTS_AND_SOLVENTS = " ".join((CARBOXYLIC_ACIDS, OTHER_ACIDS, BASES, SOLVENTS)).split()
