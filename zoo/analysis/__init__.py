"""What a trained net is worth: scores, predictions, summaries, pictures of one net."""
