"""The figures of label maps: pure functions of arrays, and the counts they are computed from."""
