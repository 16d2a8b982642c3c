"""Splits: by groups, clusters, time, published lists; subsets of them."""
