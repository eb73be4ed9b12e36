"""Ollama's wire structs and nothing else."""
