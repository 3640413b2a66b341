"""Levels as tables, curves and pictures."""
