"""Native kernels for the CPU, and programs that run a whole step of them in one call."""
