"""A ticket (masks and the state to rewind to), how it is put into a network, and controls."""
