"""Convolutions and quaternion layers, each by the algorithm for its shape."""
