"""Check images, split them without leakage and pack them into shards."""
