"""What every training shares: configuration, loop, exact resume, run folders, several processes."""
