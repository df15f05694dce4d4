"""One page about one or several runs: what was run, how it went, and how sure the figures are."""

from foundation import require_neighbours

require_neighbours(__name__)
