"""OpenAI's wire structs and nothing else: requests are read leniently, replies are exact."""
