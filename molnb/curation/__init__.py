"""From a recipe to shards: standardise, deduplicate, embed, label, split; corpora in numbers."""
