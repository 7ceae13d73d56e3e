"""Plots of models and of what they answer, and a page of them; matplotlib is imported when one is drawn."""
