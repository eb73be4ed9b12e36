"""One controller per resource: decode, prepare, lease, stream."""
