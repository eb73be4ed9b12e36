"""A recorded forward, carried out step by step on any device, by fewer kernels than it has ops."""
