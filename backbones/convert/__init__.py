"""Weight files of other projects, read into ours and written from them, with a report of what was used."""

from backbones.convert.conversion import Conversion, convert
from backbones.convert.formats import FORMATS
from backbones.convert.input_rewriting import rewrite_input, same_pictures

__all__ = ["FORMATS", "Conversion", "convert", "rewrite_input", "same_pictures"]
