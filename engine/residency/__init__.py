"""The life of a model on a device."""
