"""Which parts of a picture a detection comes from."""
