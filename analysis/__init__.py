"""Why residual networks work: responses, signals, lesions, paths and gradients of any checkpoint."""
