"""Report a hyperparameter search and write what it found as defaults."""
