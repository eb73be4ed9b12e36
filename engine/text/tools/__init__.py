"""How models write tool calls: what reads them out of a text, and what makes a model write them."""
