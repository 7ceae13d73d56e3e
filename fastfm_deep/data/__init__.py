"""Data on its way in: text, matrices, tables → CSR rows and fields."""
