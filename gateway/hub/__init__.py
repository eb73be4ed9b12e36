"""Models from the Hugging Face hub: which files, how they come, where they land, how they go."""
