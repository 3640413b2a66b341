"""A finished run in numbers and pictures: densities, overlaps, connectivity."""
