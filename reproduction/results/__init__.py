"""What was run: records of numbers, and docs/results.md drawn from them."""
