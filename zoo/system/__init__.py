"""Foundations of all packages: errors, files, locks, memory, signals, the style of pictures."""
