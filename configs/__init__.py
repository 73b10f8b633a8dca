"""The configurations: `default`, which holds every key, and one for each net."""
