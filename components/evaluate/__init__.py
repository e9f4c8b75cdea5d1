"""Measure a model on the frozen test set and hold it against the gates."""
