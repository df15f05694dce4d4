"""What single cells of maps see of a picture, and which cells and pixels an answer comes from."""
