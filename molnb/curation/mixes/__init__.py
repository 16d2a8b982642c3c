"""Mixes: members curated by themselves, and joined into one folder of shards."""
