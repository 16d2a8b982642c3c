"""Counter-ions, solvents and inorganic carbon that accompany a molecule without being it."""

from __future__ import annotations

# Fragments that give way to any other organic fragment, and are the molecule only when nothing else
# is there; neutral and without stereo, which is how they are compared. After RDKit's
# fragmentPatterns and Salts.txt and Stahl & Wermuth, Handbook of Pharmaceutical Salts (2002), with
# picrates and amine soaps, which old collections hold. What is a drug or a dye as often as it is a
# counter-ion is left out (theophylline, procaine, ascorbic acid, benzalkonium): its partner would
# be taken for the molecule.
CARBOXYLIC_ACIDS = """
    C(=O)O CC(=O)O OC(=O)C(F)(F)F CCC(=O)O OC(=O)C(=O)O OC(=O)CC(=O)O OC(=O)CCC(=O)O
    OC(=O)C=CC(=O)O OC(=O)CCCCC(=O)O OC(=O)C(O)C(O)C(=O)O OC(=O)CC(O)(CC(=O)O)C(=O)O CC(O)C(=O)O
    OCC(=O)O OC(=O)CC(O)C(=O)O OC(=O)C(O)c1ccccc1 OC(=O)c1ccccc1 OC(=O)c1ccccc1O OC(=O)c1cccnc1
    OCC(O)C(O)C(O)C(O)C(=O)O OCC(O)C(O)C(O)C(O)C(O)C(=O)O OC(=O)C1OC(O)C(O)C(O)C1O
    OC(=O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O CCCCCCCCCCCC(=O)O CCCCCCCCCCCCCCCC(=O)O
    CCCCCCCCCCCCCCCCCC(=O)O CCCCCCCCC=CCCCCCCCC(=O)O
    CCCC(=O)O CC(C)C(=O)O CC(C)(C)C(=O)O CCCCC(=O)O CCCCCC(=O)O CCCCCCC(=O)O CCCCCCCC(=O)O
    CCCCCCCCCC(=O)O CCCCCCCCCCCCCC(=O)O CCCCCC=CCC=CCCCCCCCC(=O)O OC(=O)CCCC(=O)O
    OC(=O)CCCCCCCCC(=O)O OC(=O)C(O)C(O)C(O)C(O)C(=O)O
    OCC1OC(OC(C(O)CO)C(O)C(O)C(=O)O)C(O)C(O)C1O OC(=O)CCC(=O)C(=O)O CC(=O)C(=O)O
    CC(=O)CCC(=O)O OC(=O)C(Cl)(Cl)Cl OC(=O)C(F)F CC1(C)C(C(=O)O)CCC1(C)C(=O)O
    OC(=O)C=Cc1ccccc1 OC(=O)c1cc(O)ccc1O OC(=O)c1ccc(O)cc1 OC(=O)c1ccc2ccccc2c1O
    OC(=O)c1cc2ccccc2cc1O OC(=O)CNC(=O)c1ccccc1 CC(=O)NCC(=O)O CC(=O)Nc1ccc(C(=O)O)cc1
    OC(=O)c1ccccc1C(=O)c1ccc(O)c(c1)-c1ccccc1 OC(=O)C(OC(=O)c1ccccc1)C(OC(=O)c1ccccc1)C(=O)O
    Cc1ccc(cc1)C(=O)OC(C(=O)O)C(OC(=O)c1ccc(C)cc1)C(=O)O
    NCC(=O)O NC(CC(=O)O)C(=O)O NC(CCC(=O)O)C(=O)O O=C1CCC(C(=O)O)N1 O=C(O)c1cc(=O)[nH]c(=O)[nH]1
"""
OTHER_ACIDS = """
    CS(=O)(=O)O CCS(=O)(=O)O OCCS(=O)(=O)O OS(=O)(=O)CCS(=O)(=O)O OS(=O)(=O)C(F)(F)F
    CC1(C)C2CCC1(CS(=O)(=O)O)C(=O)C2 OS(=O)(=O)c1ccccc1 Cc1ccc(S(=O)(=O)O)cc1
    OS(=O)(=O)c1ccc(Cl)cc1 OS(=O)(=O)c1cccc([N+](=O)[O-])c1 OS(=O)(=O)c1ccc2ccccc2c1
    OS(=O)(=O)c1cccc2c1cccc2S(=O)(=O)O OS(=O)(=O)NC1CCCCC1 COS(=O)(=O)O CCOS(=O)(=O)O
    O=C1NS(=O)(=O)c2ccccc21 CC1=CC(=O)NS(=O)(=O)O1 OS(=O)(=O)c1cccc2ccccc12
    OC(=O)c1cc(S(=O)(=O)O)ccc1O FC(F)(F)S(=O)(=O)NS(=O)(=O)C(F)(F)F
    c1ccc([B-](c2ccccc2)(c2ccccc2)c2ccccc2)cc1
    CCCCCCCCCCCCOS(=O)(=O)O Oc1c([N+](=O)[O-])cc([N+](=O)[O-])cc1[N+](=O)[O-]
"""
BASES = """
    CN CNC CN(C)C CCN CCNCC CCN(CC)CC CCN(C(C)C)C(C)C CC(C)(C)N NCCN C1CNCCN1 C1COCCN1 C1CCNCC1
    C1CCNC1 NC1CCCCC1 C1CCC(NC2CCCCC2)CC1 NCCO OCCNCCO OCCN(CCO)CCO CN(C)CCO NC(CO)(CO)CO
    CC(C)(N)CO CC(N)(CO)CO CNCC(O)C(O)C(O)C(O)CO NC(=N)N NCCCCC(N)C(=O)O NC(=N)NCCCC(N)C(=O)O
    c1ccncc1 c1c[nH]cn1 C[N+](C)(C)C CC[N+](CC)(CC)CC CCCC[N+](CCCC)(CCCC)CCCC C[N+](C)(C)CCO
    CCC[N+](CCC)(CCC)CCC CCN(CC)CCO OCCN1CCOCC1 OCCN1CCCC1 C1CN2CCN1CC2 CN1CCCC1 CN1CCOCC1
    c1ccc(CNCCNCc2ccccc2)cc1 c1ccc(CCNCc2ccccc2)cc1 c1ccc(CNCc2ccccc2)cc1 NCc1ccccc1
    NCCCC(N)C(=O)O NC(Cc1c[nH]cn1)C(=O)O C[N+](C)(C)CC(=O)[O-] Cc1ccccn1 Cc1ccncc1 Cc1cccc(C)n1
    Cc1cc(C)nc(C)c1 C1CCC2=NCCCN2CC1
"""
SOLVENTS = """
    CO CCO CCCO CC(C)O CCCCO CC(C)(C)O OCCO OCC(O)CO CC(C)=O CCC(C)=O C=O CC#N C[N+](=O)[O-]
    CCOCC CC(C)OC(C)C COC(C)(C)C C1CCOC1 C1COCCO1 COCCOC CCOC(C)=O COC(C)=O CN(C)C=O CC(=O)N(C)C
    CS(C)=O CN1CCCC1=O CN(C)P(=O)(N(C)C)N(C)C ClCCl ClC(Cl)Cl ClC(Cl)(Cl)Cl ClCCCl Clc1ccccc1
    CCCCC CCCCCC CCCCCCC C1CCCCC1 C1CCCCCC1 c1ccccc1 Cc1ccccc1 Cc1ccccc1C Cc1cccc(C)c1
    Cc1ccc(C)cc1 CC(O)CO CCC(C)O CC(C)CO CCc1ccccc1 COc1ccccc1 CC(C)CC(C)=O CC(C)OC(C)=O
    CCCCOC(C)=O CCOC=O COCOC COCCO COCCOCCOC CC1CCCO1 OCC(F)(F)F OC(C(F)(F)F)C(F)(F)F NC=O CNC=O
    O=S1(=O)CCCC1 CCCCCCCC CC(C)CC(C)(C)C ClC=C(Cl)Cl N#Cc1ccccc1 CN1CCCN(C)C1=O
""".split()
# Carbon, but not organic: acids of counter-ions, and small molecules.
CARBON_ACIDS = "OC(=O)O C#N N#CS N=C=S N#CO N=C=O".split()
INORGANIC_CARBON = [*CARBON_ACIDS, "O=C=O", "[C-]#[O+]", "S=C=S"]
COUNTER_IONS = " ".join((CARBOXYLIC_ACIDS, OTHER_ACIDS, BASES)).split()
SALTS_AND_SOLVENTS = [*COUNTER_IONS, *SOLVENTS]
# Acids, bases and ions without carbon, as they stand after neutralisation.
INORGANIC_IONS = """
    [H+] F Cl Br I [Cl] [Br] [I] I[I-]I N NN NO N=[N+]=[N-] S OS(=O)(=O)O O=S(O)O OS(=O)(=O)S
    NS(=O)(=O)O O[N+](=O)[O-] O=NO O=P(O)(O)O O=[PH](O)O O=[PH2]O O=P(O)(O)OP(=O)(O)O
    [O-][Cl+3]([O-])([O-])O [O-][Cl+2]([O-])O [O-][I+2]([O-])O [O-][Br+2]([O-])O F[B-](F)(F)F
    F[P-](F)(F)(F)(F)F F[As-](F)(F)(F)(F)F F[Sb-](F)(F)(F)(F)F OB(O)O
""".split()
WATER = ["O"]
