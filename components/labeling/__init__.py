"""Bring what the model is unsure of to people, and their annotations back to training."""
