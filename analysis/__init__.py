"""Why residual networks work, on any checkpoint: from the responses of layers to the surface of the loss."""

from foundation import require_neighbours

require_neighbours(__name__)
