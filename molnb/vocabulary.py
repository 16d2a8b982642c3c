"""What the integer features of atoms and bonds say: the names of all values, without RDKit.

`chemistry.features` writes these integers, models embed them, and messages name them. The order of
the values is that of the integers (OGB's, and a parity of our own).
"""

from __future__ import annotations

SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As "
    "Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu "
    "Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np "
    "Pu Am Cm Bk Cf Es Fm Md No Lr Rf Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og"
).split()
CHIRALITY_TAGS = "none CW CCW TRIGONALBIPYRAMIDAL OCTAHEDRAL SQUAREPLANAR OTHER".split()
CHIRALITY_PARITIES = ("none", "parity 1", "parity 2")
N_ATOM_FEATURE = 13  # columns of `atom_feats`
N_BOND_FEATURE = 4  # and of `bond_feats`
# The first of these columns. A ninth column of atoms holds the parity, which an encoder may read in
# place of the tag; valence and rings, which graph networks read, come after it.
ATOM_VALUES = (
    ("chirality", CHIRALITY_TAGS),
    ("neighbours", (*range(11), "more")),
    ("charge", (*range(-5, 6), "other")),
    ("hydrogens", (*range(9), "more")),
    ("radical electrons", (*range(5), "more")),
    ("hybridisation", ("SP", "SP2", "SP3", "SP3D", "SP3D2", "other")),
    ("aromatic atom", ("no", "yes")),
    ("ring atom", ("no", "yes")),
)
# Columns of atoms from the tenth.
_RING_SIZES = (*range(255), "255 or more")
MORE_ATOM_VALUES = (
    ("valence", (*range(15), "more")),
    ("smallest ring", _RING_SIZES),
    ("largest ring", _RING_SIZES),
    ("rings", (*range(15), "more")),
)
BOND_VALUES = (
    ("bond type", ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC", "other")),
    ("bond stereo", ("none", "Z", "E", "CIS", "TRANS", "ANY")),
    ("conjugated bond", ("no", "yes")),
)
RING_BOND = ("ring bond", ("no", "yes"))  # the fourth column of bonds
