"""What every other package stands on: errors, files written whole, pickles read safely."""
