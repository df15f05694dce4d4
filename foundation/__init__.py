"""What every other package stands on: errors, files written whole, pickles read safely."""

from foundation.shadowing import require_neighbours

__all__ = ["require_neighbours"]
