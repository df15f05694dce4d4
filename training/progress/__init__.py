"""What a person sees of work that takes long: bars on a terminal, lines of figures, tables, and log.txt."""
