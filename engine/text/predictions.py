"""What a client expects to be said, as tokens."""

from engine.api import Generation
from engine.text.prompts import PreparedPrompt


def predicted_ids(prompt: PreparedPrompt, generation: Generation) -> list[int]:
    """Ids of `Generation.prediction`, no control tokens among them. Blocks as `Tokenizer.encode`.

    Where the model would cut words otherwise, the first guess fails and the next finds its place.
    """
    text = generation.prediction
    return prompt.tokenizer.encode(text, add_bos=False, allow_special=False) if text else []
