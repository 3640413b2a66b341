"""The algebra of quaternions, and the elementary functions that it needs."""
