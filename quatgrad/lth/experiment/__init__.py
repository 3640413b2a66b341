"""Runs on record: options, trials, plans, proofs, sweeps."""
