"""Labelled pictures: the data sets, their augmentation and their batches."""
