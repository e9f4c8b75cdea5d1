"""Pack what the registry is told: the final bundle and one report."""
