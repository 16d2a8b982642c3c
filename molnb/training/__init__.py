"""The loop, and the run it leaves behind: configuration, rows, optimiser, checkpoints, presets."""
