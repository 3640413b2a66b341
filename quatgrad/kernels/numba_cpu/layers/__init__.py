"""Norms, pooling, activations, optimizers."""
