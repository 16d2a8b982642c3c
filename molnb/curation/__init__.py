"""From a recipe to shards: standardise, deduplicate, embed, label, split; and what is in a
corpus.
"""
