"""Wire structs of Anthropic's messages API and nothing else."""
