"""What every training shares: configuration, data order, optimisation, the loop, run folders."""
