"""Comparisons and reports over complete runs."""

from foundation import require_neighbours

require_neighbours(__name__)
