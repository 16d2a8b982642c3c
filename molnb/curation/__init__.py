"""How `curate` works: workers take slices of rows, a global pass merges them, and the parts become shards.

In the order of the work: `workers` (processes, and the row that kills one), `slices` (what a worker does), `merge`
(duplicates and groups, out of core), `splits`, `arrays` (for training), `adopt` (what was finished before), `finish`.
"""
