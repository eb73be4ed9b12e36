"""Kernels for GPUs, in Triton: source-compatible with Triton 3.6 to 3.9.

Nothing imports these modules where there is no Triton; `install` registers what they have.
"""
