"""Sets of one's own: what kind a folder looks like, how command lines name it, and how it is written."""
