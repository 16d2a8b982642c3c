"""From an encoding to a loss: what is hidden, what is scored, and what a score must beat."""
