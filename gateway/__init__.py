"""The OpenAI-compatible front of a pool of models."""
