"""Show where the model looks, and test whether the showing is true."""
