"""What an engine is asked to read and to generate."""

from typing import Any, Literal

from msgspec import Struct


class ChatPrompt(Struct, frozen=True, tag="chat"):
    """Messages for the model's chat template, already in the shape that templates read.

    continues: the last message, an assistant's, is not at its end: the answer goes on with it.
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    template_kwargs: dict[str, Any] = {}
    add_generation_prompt: bool = True
    continues: bool = False


class TextPrompt(Struct, frozen=True, tag="text"):
    """Plain text. The tokenizer's BOS, if it wants one, is added if `adds_bos`.

    spells_control: text that spells a control token becomes it. max_tokens: its end is cut off beyond
    so many, but not what the model wants at the end of a text.
    """

    text: str
    adds_bos: bool = True
    spells_control: bool = True
    max_tokens: int | None = None


class TokenPrompt(Struct, frozen=True, tag="tokens"):
    """Token ids, used as they are."""

    token_ids: list[int]


class PairPrompt(Struct, frozen=True, tag="pair"):
    """Two texts that a reranker reads together, with the tokens that it wants around them."""

    first: str
    second: str


class Snippet(Struct, frozen=True):
    """A piece of another file."""

    text: str
    file_name: str = ""


class FillPrompt(Struct, frozen=True, tag="fill"):
    """A text with a gap, which a model that was trained to fill gaps is to fill.

    snippets: what else may help it, the most telling last.
    """

    prefix: str
    suffix: str
    snippets: list[Snippet] = []


Prompt = ChatPrompt | TextPrompt | TokenPrompt | PairPrompt | FillPrompt


class TextSource(Struct, frozen=True):
    """Where a model's tokenizer and template come from. `chat_template` overrides the file's."""

    path: str
    digest: str
    vocab_size: int
    chat_template: str | None = None


class Prepared(Struct, frozen=True):
    """A prompt rendered and tokenized, kept by the text process until it is discarded."""

    ticket: int
    token_ids: list[int]


class Spelling(Struct, frozen=True):
    """A prepared prompt as text: as it was rendered, or as its tokens spell it, control tokens too.

    pieces: the exact bytes of each token.
    """

    text: str
    pieces: list[bytes]


class Sampling(Struct, frozen=True):
    """How the next token is chosen. The defaults change nothing: a plain draw from the model.

    logprobs: None for none, else how many alternatives beside the chosen token (0-20).
    prompt_logprobs: also for each prompt token, given those before it.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: dict[int, float] = {}
    seed: int | None = None
    logprobs: int | None = None
    prompt_logprobs: bool = False


class Grammar(Struct, frozen=True):
    """What the generated text must be: a JSON schema, a regular expression or a Lark grammar.

    As llguidance reads them. A schema may say with `x-guidance` how it is read; a "lark" may be
    llama.cpp's GBNF. Reasoning before it is free where it is split from the text.
    """

    kind: Literal["json_schema", "regex", "lark"]
    text: str


class ToolChoice(Struct, frozen=True):
    """Which of a chat prompt's tools are called, and how its reply is read.

    mode: "auto" leaves it to the model, "required" makes it call one; `names` are those it may call,
    all if empty. is_parallel: more than one call in a reply. Arguments of tools that say `strict`, and of
    all that must be called, follow their schemas.
    """

    mode: Literal["auto", "required"] = "auto"
    names: tuple[str, ...] = ()
    is_parallel: bool = True


class Generation(Struct, frozen=True):
    """One sequence of a request: what to sample, when to stop, what to send back.

    stop: strings that end the text and are not part of it. stop_token_ids: likewise, beside the
    model's own. ignore_eos: the model's own do not end it. echo: the prompt's text comes first.
    max_tokens 0 only scores the prompt. tools: calls are parsed out of the text; None leaves them in
    it. splits_reasoning: what the model thinks before its answer comes apart from it. prediction: a
    text that most of the answer is expected to be; it is faster where that is so, and the same anyway.
    """

    max_tokens: int
    sampling: Sampling = Sampling()
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    min_tokens: int = 0
    echo: bool = False
    grammar: Grammar | None = None
    tools: ToolChoice | None = None
    splits_reasoning: bool = False
    prediction: str = ""


class Run(Struct, frozen=True):
    """A sequence to start: a prepared prompt, its generation, and its choice index in the reply.

    salt: sequences share what is cached of their prompts only with those of the same salt, so that
    nobody can tell by the time an answer takes what others have asked.
    """

    index: int
    ticket: int
    generation: Generation
    salt: str = ""
