"""The two-track family: the transformer over atoms and pairs of Uni-Mol2 (arXiv 2406.14969)."""
