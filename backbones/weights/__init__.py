"""Weight files: written, read, loaded into networks, shared on the hub."""
