"""How classifiers are scored, and what is kept of a score."""
