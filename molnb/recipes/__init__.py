"""Recipes: which molecules, from where, with which labels in which unit; and their rows."""
