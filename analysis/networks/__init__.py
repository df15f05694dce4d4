"""Networks as the analyses look at them: as a chain of blocks, and as they were before training."""
