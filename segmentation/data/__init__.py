"""Data sets of label maps, and the batches that training and evaluation get of them."""
