"""Recipes as people read them: a list of all, a card of each."""
