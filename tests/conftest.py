"""What holds for every test."""

import os

# Tests run beside each other and beside servers of their own: torch's threads, which wait for one
# another, slow down many times as soon as they have to share a core, and tiny tensors need but one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Triton decides when a kernel is defined whether it will be interpreted.
if "ROUNDHOUSE_GPU_TESTS" not in os.environ:
    os.environ.setdefault("TRITON_INTERPRET", "1")
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # else 3.9 warns of what 3.10 will do
