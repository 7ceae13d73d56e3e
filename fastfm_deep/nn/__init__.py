"""A small network in NumPy: layers whose forward pass returns its way back."""
