"""Comparisons of detectors over complete runs, and the detection tables of the paper."""
