"""Studies: questions that take many runs, with controls that can say no."""
