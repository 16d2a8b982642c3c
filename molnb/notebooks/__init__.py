"""Lessons run by a machine: checked parameters, executed copies, pages that work without a
network.
"""
