"""Better answers of a detector that is trained: several looks at a picture, and how they are joined."""
