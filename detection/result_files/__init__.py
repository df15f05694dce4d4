"""Result files of any detector: read, scored on a set, and several of them joined to one answer."""
