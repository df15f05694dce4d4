"""Where in its maps and pixels an answer of a network comes from, by the library captum."""
