"""Fit the drift detector on held-out images and measure what it is worth."""
