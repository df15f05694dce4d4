"""Why residual networks work: responses, signals, lesions, paths and gradients of any checkpoint."""

from foundation import require_neighbours

require_neighbours(__name__)
