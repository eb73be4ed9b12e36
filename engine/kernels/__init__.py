"""The op vocabulary that models are written in, and the kernels behind it."""
