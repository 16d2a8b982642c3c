"""Figures, tables and molecules to look at: every `plot_*` takes a table and returns a plotly
figure.
"""
