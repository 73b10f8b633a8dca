"""Trains the notebooks' nets again, and compares with what they printed."""
