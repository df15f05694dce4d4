"""What is wrong with a data set, or with a training before it begins."""

from foundation import require_neighbours

require_neighbours(__name__)
