"""What an operator sees and does: runs, models, live figures, labels, parameters, data."""
