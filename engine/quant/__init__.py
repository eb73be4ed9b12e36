"""Formats that weights are stored in: packed blocks to values."""
