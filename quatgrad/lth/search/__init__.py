"""Train, prune, rewind, repeat: the protocol, a level, its checkpoints and masks."""
