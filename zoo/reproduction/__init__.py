"""Trains the notebooks' nets again and compares with the published results."""
