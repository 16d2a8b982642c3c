"""Figures, tables and molecules to look at; every `plot_*` turns a table into a plotly figure."""
