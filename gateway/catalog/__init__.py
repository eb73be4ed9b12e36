"""What models exist: files found by name, their cards, and the names that clients may use."""
