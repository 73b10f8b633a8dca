"""Analysis of a single net: scores, predictions, summaries, pictures."""
