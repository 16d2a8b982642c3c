"""From shards to batches: flat arrays of many molecules, with known labels. Torch, no RDKit."""
