"""What every training shares: configuration, loop, exact resume, run folders, several processes."""

from foundation import require_neighbours

require_neighbours(__name__)
