"""OpenAI's wire structs, our own in their style, and nothing else: requests are read leniently, replies are exact."""
