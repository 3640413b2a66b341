"""Vectors, products of matrices and sums: what the other rooms are made of."""
