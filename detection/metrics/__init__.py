"""Average precision and what belongs to it, as pure functions over arrays."""
