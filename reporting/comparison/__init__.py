"""Several runs of one kind beside each other: figures, recipes, curves, and paired differences."""
