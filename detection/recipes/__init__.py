"""What is chosen for a data set of one's own where no configuration is given."""
