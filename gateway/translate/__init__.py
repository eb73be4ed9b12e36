"""Wire structs to the engine's and back: the only place that knows both."""
