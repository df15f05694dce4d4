"""Everything that is pixels and no network: decoding, drawing, video, the generated set Shapes."""

from foundation import require_neighbours

require_neighbours(__name__)
