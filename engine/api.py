"""The seam between gateway and engine: what each may say to the other.

Data (msgspec structs) and Protocols only; no torch, no I/O. `engine.client` answers `Engine` with
real processes; the gateway's tests answer it with a fake.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Literal, Protocol

from msgspec import Struct, field

Task = Literal["chat", "completion", "embedding", "rerank"]
Form = Literal["dense", "packed", "tiled"]
FinishReason = Literal["stop", "length", "tool_calls"]

ErrorCode = Literal[
    "bad_checkpoint",  # a model file is malformed, unsupported or incomplete
    "no_chat_template",  # the model completes only
    "template_failed",  # the model's chat template refused the messages, ran too long or too large
    "bad_request",  # a value the engine cannot honour, such as a token id outside the vocabulary
    "stale_handle",  # the model was evicted before the request reached it
    "out_of_memory",  # a load or a sequence does not fit the device
    "worker_lost",  # the process that owned the device died
    "text_lost",  # the text process died
    "internal",  # a bug of ours
]


class EngineError(Exception):
    """The engine could not do what was asked; `code` says why, `param` names the field at fault."""

    def __init__(self, code: ErrorCode, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


class Failure(Struct, frozen=True):
    """An `EngineError` on the wire."""

    code: ErrorCode
    message: str
    param: str | None = None

    def error(self) -> EngineError:
        return EngineError(self.code, self.message, self.param)


# --- models -------------------------------------------------------------------------------------


class Footprint(Struct, frozen=True):
    """Bytes that a model takes on a device in one resident form.

    dense: quantised weights are unpacked to the compute dtype when the model is loaded.
    packed: they stay as in the file and are unpacked in use; slower, and smaller.
    tiled: as native kernels read them, in a mapped image that is built at the first load.
    A sequence takes bytes for each of its tokens, or as many whatever its length, or both.
    """

    form: Form
    weights_bytes: int
    kv_bytes_per_token: int
    workspace_bytes: int
    state_bytes_per_sequence: int = 0

    def total(self, kv_tokens: int, state_slots: int = 0) -> int:
        """Bytes of weights, workspace, a cache of `kv_tokens` tokens, and `state_slots` states."""
        cache = kv_tokens * self.kv_bytes_per_token + state_slots * self.state_bytes_per_sequence
        return self.weights_bytes + self.workspace_bytes + cache


class ModelCard(Struct, frozen=True):
    """What a checkpoint is and needs, read from its headers alone."""

    path: str
    digest: str
    family: str
    format: Literal["gguf", "safetensors"]
    quantization: str
    num_parameters: int
    file_bytes: int
    context_length: int
    vocab_size: int
    tasks: tuple[Task, ...]
    footprints: tuple[Footprint, ...]
    """In order of preference: the first that can ever fit is used."""
    embedding_size: int = 0
    """Values of its vectors; 0 of a model that makes none."""
    is_matryoshka: bool = False
    """The first values of a vector are a good, shorter one."""


class Device(Struct, frozen=True):
    """A device that one worker owns. `memory_bytes` is what the worker may use of it."""

    name: str
    memory_bytes: int


class ImageCache(Struct, frozen=True):
    """Where an engine keeps images of weights.

    folder: "auto" for one in the user's cache, "off" for none. max_bytes: None leaves it to the
    engine, which looks at how much room there is.
    """

    folder: str = "off"
    max_bytes: int | None = None


class HostMemory(Struct, frozen=True):
    """Bytes of host memory for what is not in use. None leaves it to the engine.

    warm_bytes: for weights of evicted models, so that they come back without a disk.
    parked_bytes: for the caches of evicted and paused models.
    """

    warm_bytes: int | None = None
    parked_bytes: int | None = None


class LoadOrder(Struct, frozen=True):
    """Make a checkpoint ready on a device.

    `handle` is never reused: whoever still holds one from before an eviction gets `stale_handle`.
    kv_tokens, state_slots: what the cache has room for; a model ignores what it keeps nothing of.
    resumes: the handle is of a paused model, whose sequences go on; all else is as in its first order.
    others: devices that hold the model together with `device`, an equal share each; `device` is then
    asked for all of them.
    """

    handle: int
    device: str
    path: str
    form: Form
    kv_tokens: int
    state_slots: int = 0
    resumes: bool = False
    others: tuple[str, ...] = ()


Tier = Literal["built", "disk", "warm"]
"""Where a load found the weights: in the checkpoint alone, in an image on disk, in host memory."""


class LoadReport(Struct, frozen=True):
    """What a finished load really took: on each device of its order, the most that any needed.

    workspace_bytes: at most, since some of it is taken only when a batch first needs it.
    phases: seconds of `seconds`, by what they were spent on.
    """

    weights_bytes: int
    kv_bytes: int
    seconds: float
    state_bytes: int = 0
    workspace_bytes: int = 0
    tier: Tier = "disk"
    phases: dict[str, float] = {}

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.kv_bytes + self.state_bytes + self.workspace_bytes


# --- requests -----------------------------------------------------------------------------------


class ChatPrompt(Struct, frozen=True, tag="chat"):
    """Messages for the model's chat template, already in the shape that templates read."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None
    template_kwargs: dict[str, Any] = {}
    add_generation_prompt: bool = True


class TextPrompt(Struct, frozen=True, tag="text"):
    """Plain text. The tokenizer's BOS, if it wants one, is added if `adds_bos`.

    spells_control: text that spells a control token becomes it.
    """

    text: str
    adds_bos: bool = True
    spells_control: bool = True


class TokenPrompt(Struct, frozen=True, tag="tokens"):
    """Token ids, used as they are."""

    token_ids: list[int]


class PairPrompt(Struct, frozen=True, tag="pair"):
    """Two texts that a reranker reads together, with the tokens that it wants around them."""

    first: str
    second: str


Prompt = ChatPrompt | TextPrompt | TokenPrompt | PairPrompt


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
    it. splits_reasoning: what the model thinks before its answer comes apart from it.
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


class Run(Struct, frozen=True):
    """A sequence to start: a prepared prompt, its generation, and its choice index in the reply."""

    index: int
    ticket: int
    generation: Generation


# --- replies ------------------------------------------------------------------------------------


class TopLogprob(Struct, frozen=True, array_like=True):
    token_id: int
    text: str
    raw: bytes
    logprob: float


class TokenLogprob(Struct, frozen=True, array_like=True):
    """A token with its log-probability; None for a first prompt token, which nothing predicts.

    text: the token alone, U+FFFD where it is half a character. raw: its exact bytes.
    top: the best alternatives, best first; the chosen token is among them if it is one of them.
    """

    token_id: int
    text: str
    raw: bytes
    logprob: float | None
    top: list[TopLogprob]


class Usage(Struct, frozen=True):
    """reasoning_tokens: those of completion_tokens that were thought, not said."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class ToolCallDelta(Struct, frozen=True):
    """What was added to a call: first its id and name, then its arguments, pieces of JSON text."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Delta(Struct, frozen=True):
    """What one step added to one choice. `usage` and `finish_reason` come with its last delta.

    text never ends inside a character or inside a possible stop string. stop_string: the one of
    `Generation.stop` that ended it, if one did. vector: float32 values, little-endian, of a prompt
    that was embedded; one, of a pair that was scored.
    """

    index: int
    text: str = ""
    reasoning: str = ""
    tool_calls: list[ToolCallDelta] = []
    token_ids: list[int] = []
    logprobs: list[TokenLogprob] = []
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    failure: Failure | None = None
    stop_string: str | None = None
    vector: bytes = b""


class DeviceStats(Struct, frozen=True):
    """What a worker counts, since it started or now.

    warm_*, parked_*: what `HostMemory` is used for now. prompt_tokens: of all prompts that began;
    cached_tokens: those of them that a prefix cache had. drafted_tokens: guesses ahead;
    accepted_tokens: those of them that were right.
    """

    steps: int = 0
    warm_models: int = 0
    warm_bytes: int = 0
    parked_models: int = 0
    parked_bytes: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0


class EngineStatus(Struct, frozen=True):
    """Whether the processes are alive: seconds since the last sign of life, by worker."""

    text_alive: bool
    workers: dict[str, float] = field(default_factory=dict)
    stats: dict[str, DeviceStats] = field(default_factory=dict)


class Engine(Protocol):
    """What the gateway may ask. Every method may raise `EngineError`."""

    @property
    def devices(self) -> Sequence[Device]:
        """The devices whose workers are, or will again be, alive."""

    @property
    def can_spread(self) -> bool:
        """Whether a model may be loaded on several devices together, as `LoadOrder.others` says."""

    @property
    def status(self) -> EngineStatus: ...

    async def inspect(self, path: str) -> ModelCard:
        """The card of the checkpoint at `path`, from its headers."""

    async def load(self, order: LoadOrder, progress: Callable[[float], None]) -> LoadReport:
        """Loads beside what is running. Cancelling waits until the memory is free again."""

    async def evict(self, device: str, handle: int) -> None:
        """Drops a model that has no sequences, or is paused; returns when its memory is free.

        Of a model whose other devices were lost, `device` is any that is left; its sequences ended
        then.
        """

    async def pause(self, device: str, handle: int) -> None:
        """Takes a model's weights away between two tokens; returns when their memory is free.

        Its sequences stay, with what the host's memory can keep of their caches, and may still be
        started and cancelled. An order that `resumes` the handle lets them go on, none the wiser.
        """

    async def prepare(self, source: TextSource, prompt: Prompt) -> Prepared:
        """Renders and tokenizes. Needs no device, so bad requests cost no swap."""

    async def check(self, source: TextSource, grammar: Grammar) -> None:
        """Raises `bad_request`, with param "grammar", for one that no text of the model can follow.

        Its message is the reason alone. Needs no device.
        """

    async def spell(self, ticket: int) -> Spelling:
        """What a prepared prompt reads."""

    def discard(self, ticket: int) -> None:
        """Forgets a prepared prompt that will not run, or has run."""

    def generate(self, device: str, handle: int, runs: Sequence[Run]) -> AsyncIterator[Delta]:
        """Runs sequences on a loaded model until each has finished.

        A delta may carry a `failure`, which ends its choice; losing a process raises. Closing the
        iterator early cancels what is still running.
        """

    async def embed(self, device: str, handle: int, tickets: Sequence[int]) -> list[bytes]:
        """The vectors of prepared prompts, in their order, by a model for "embedding" or "rerank".

        Float32 values, little-endian: one score, of a pair, for each by a reranker. Cancelling stops
        what is still running. Raises `bad_request` for a model that generates.
        """

    def on_lost(self, callback: Callable[[str], None]) -> None:
        """Calls back with a device's name when its worker dies, before it is started anew."""
