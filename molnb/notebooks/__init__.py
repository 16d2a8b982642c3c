"""Lessons run by a machine: checked parameters, executed copies, pages that need no network."""
