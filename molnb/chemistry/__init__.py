"""RDKit and xTB leaf functions: a molecule in; a structure, geometry, features or labels out."""
