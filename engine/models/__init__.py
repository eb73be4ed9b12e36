"""Families of models: what each declares, and how a checkpoint becomes one of them."""
