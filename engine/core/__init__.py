"""Continuous batching: sequences in, planned steps, tokens out."""
