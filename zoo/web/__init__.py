"""Comparisons, reports and the live view, mostly for a browser."""
