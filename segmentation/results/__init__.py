"""What is made of label maps that were found: figures, files, pictures."""
