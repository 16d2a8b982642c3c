"""Honest tables: benchmark tasks, folds, methods, intervals, reports."""
