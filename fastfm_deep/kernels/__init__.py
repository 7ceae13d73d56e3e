"""Compiled kernels: arrays in, arrays changed; they trust what `data/rows.py` has checked."""
