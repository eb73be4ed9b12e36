"""Everything that is text: tokenizers, chat templates, detokenizing, stop strings. No torch."""
