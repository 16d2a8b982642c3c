"""From shards to batches: flat arrays of many molecules, with the labels that are known. Needs
torch, no RDKit.
"""
