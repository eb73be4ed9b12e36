"""The OpenAPI document of every route, made from what the handlers declare, and a page to read it."""
