"""Blocks that families are built of. They compute with `engine.kernels.ops` and nothing else."""
