"""Everything that is pixels and no network: decoding, drawing, video, the generated set Shapes."""
