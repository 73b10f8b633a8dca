"""What a person looks at in a browser: comparisons, reports, the live view."""
