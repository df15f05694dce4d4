"""Our networks in other projects, one module per host; none is imported unless its user does so."""
