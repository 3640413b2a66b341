"""The fast reader of a plan: one compiled call for a network."""
