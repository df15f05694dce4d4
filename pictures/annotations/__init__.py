"""What legal annotations of pictures are, whatever is learned from them."""
