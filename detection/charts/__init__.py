"""Charts of what a detector finds, and the numbers behind them: by recall, by least score, by class."""
