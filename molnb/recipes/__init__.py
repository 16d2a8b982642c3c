"""Recipes: which molecules, from where, with which labels, in which unit; and the rows of their
sources.
"""
