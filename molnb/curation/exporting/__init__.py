"""Curated molecules for other programs: SDF, CSV, the Uni-Mol LMDB."""
