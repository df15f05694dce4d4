"""What the analyses draw."""
