"""The pictures in a run folder: learning curves, statistics of labels, and grids of what a network sees."""
