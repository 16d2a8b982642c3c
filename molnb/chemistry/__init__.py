"""RDKit and xTB leaf functions: one molecule in, one structure, geometry, feature table or label
out.
"""
