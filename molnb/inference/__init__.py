"""Embeddings and predictions of a trained run for any molecule."""
