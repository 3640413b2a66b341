"""Settings, searched for: the same budget for each network, and validation images choose."""
