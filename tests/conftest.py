"""What holds for every test."""

import os

# Tests run beside each other and beside servers of their own: torch's threads, which wait for one
# another, slow down many times as soon as they have to share a core, and tiny tensors need but one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
