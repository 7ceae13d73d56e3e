"""Epochs over shuffled rows, in parallel over shards; the same loop for every model."""
