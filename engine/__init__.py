"""Runs language models: a checkpoint in, tokens out. Knows nothing of HTTP."""
