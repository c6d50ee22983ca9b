"""What every estimator of margin over slope has in common: one input's view, the search, what it tells."""
