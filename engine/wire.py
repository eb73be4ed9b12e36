"""What processes say to each other, frame by frame (`engine.channel`).

gateway -> worker   `Command`      worker -> gateway   `Event`
text    -> worker   `Work`         worker -> text      `Step`, one per engine step
gateway -> text     `TextCommand`  text   -> gateway   `TextEvent`
"""

from msgspec import Struct

from engine.api import (
    Delta,
    DeviceStats,
    DType,
    Failure,
    Grammar,
    KVDType,
    LoadOrder,
    LoadReport,
    ModelCard,
    Prepared,
    Prompt,
    Run,
    Sampling,
    Spelling,
    Spent,
    TextSource,
)

# --- gateway and worker -------------------------------------------------------------------------


class Inspect(Struct, frozen=True, tag=True):
    """chat_template: the operator's, instead of the checkpoint's. dtype, kv_dtype: as of `LoadOrder`."""

    call: int
    path: str
    chat_template: str | None = None
    dtype: DType = "auto"
    kv_dtype: KVDType = "auto"


class Seat(Struct, frozen=True):
    """A worker's place among those that hold a model together; the first leads.

    folder: where they meet, which nobody else may enter.
    """

    rank: int
    size: int
    folder: str


class Load(Struct, frozen=True, tag=True):
    """seat: where the order is for a part of the model."""

    order: LoadOrder
    seat: Seat | None = None


class CancelLoad(Struct, frozen=True, tag=True):
    handle: int


class Evict(Struct, frozen=True, tag=True):
    handle: int


class Pause(Struct, frozen=True, tag=True):
    """Let go of a model's weights after the step it is in, but not of its sequences."""

    handle: int


Command = Inspect | Load | CancelLoad | Evict | Pause


class WorkerReady(Struct, frozen=True, tag=True):
    """First event of a worker: it owns its device and listens for text processes."""

    device: str
    memory_bytes: int
    dtype: str


class Inspected(Struct, frozen=True, tag=True):
    call: int
    card: ModelCard | None
    failure: Failure | None = None


class Loading(Struct, frozen=True, tag=True):
    handle: int
    fraction: float


class Loaded(Struct, frozen=True, tag=True):
    handle: int
    report: LoadReport


class LoadFailed(Struct, frozen=True, tag=True):
    """The load ended without a model, cancelled ones too; its memory is free again."""

    handle: int
    failure: Failure


class Evicted(Struct, frozen=True, tag=True):
    handle: int


class Paused(Struct, frozen=True, tag=True):
    handle: int


class Tick(Struct, frozen=True, tag=True):
    """Sign of life from the step loop itself, at least once a second."""

    stats: DeviceStats


Event = WorkerReady | Inspected | Loading | Loaded | LoadFailed | Evicted | Paused | Tick

# --- text and worker ----------------------------------------------------------------------------


class Vocabulary(Struct, frozen=True, tag=True):
    """The tokens of a model, sent before the first grammar over them; known by their content.

    tokens: each one's exact bytes by id, empty where there is none. control_ids: these are no text.
    end_ids: at least one, which ends a text.
    """

    key: str
    tokens: list[bytes]
    control_ids: list[int]
    end_ids: list[int]


class Constrain(Struct, frozen=True):
    """What a sequence's text must be: a grammar in llguidance's form, over a `Vocabulary`'s tokens."""

    vocabulary: str
    text: str


class Start(Struct, frozen=True, tag=True):
    """Start a sequence. Ids are unique per connection; stop_token_ids hold the model's own too.

    barred_token_ids: never to be generated. wants_vector: the model embeds or scores it and draws
    nothing. first_length: tokens of the first text of a pair; None where there is one text.
    predicted_token_ids: of `Generation.prediction`. salt: as of `Run`.
    """

    sequence: int
    handle: int
    token_ids: list[int]
    max_tokens: int
    min_tokens: int
    stop_token_ids: list[int]
    sampling: Sampling
    barred_token_ids: list[int] = []
    wants_vector: bool = False
    first_length: int | None = None
    grammar: Constrain | None = None
    predicted_token_ids: list[int] = []
    salt: str = ""


class Stop(Struct, frozen=True, tag=True):
    """Stop sequences; unknown ones are ignored, since they may have ended by themselves."""

    sequences: list[int]


Work = Vocabulary | Start | Stop


class Logprob(Struct, frozen=True, array_like=True):
    """Log-probability of a token and its best alternatives as (token id, logprob), best first."""

    logprob: float | None
    top: list[tuple[int, float]]


class Output(Struct, frozen=True, array_like=True):
    """What one step added to one sequence.

    finish_reason "stop" means that the last id is a stop token. prompt_logprobs has one entry per
    prompt token scored in this step, the first token's included. vector: float32, little-endian.
    accepted_tokens, rejected_tokens: predicted ones that were tried so far, by their fate. spent: with the
    first of its tokens.
    """

    sequence: int
    token_ids: list[int]
    logprobs: list[Logprob]
    prompt_logprobs: list[Logprob]
    finish_reason: str | None = None
    cached_tokens: int = 0
    failure: Failure | None = None
    vector: bytes = b""
    accepted_tokens: int = 0
    rejected_tokens: int = 0
    spent: Spent | None = None


class Step(Struct, frozen=True, tag=True):
    outputs: list[Output]


# --- gateway and text ---------------------------------------------------------------------------


class Attach(Struct, frozen=True, tag=True):
    """A worker listens at `socket`; sent again when it was restarted."""

    device: str
    socket: str


class Prepare(Struct, frozen=True, tag=True):
    call: int
    source: TextSource
    prompt: Prompt


class Check(Struct, frozen=True, tag=True):
    """Whether a model's text can follow a grammar."""

    call: int
    source: TextSource
    grammar: Grammar


class Spell(Struct, frozen=True, tag=True):
    call: int
    ticket: int


class Discard(Struct, frozen=True, tag=True):
    tickets: list[int]


class Generate(Struct, frozen=True, tag=True):
    stream: int
    device: str
    handle: int
    runs: list[Run]


class Embed(Struct, frozen=True, tag=True):
    """Each ticket's place is the index of its delta. salt: as of `Run`."""

    stream: int
    device: str
    handle: int
    tickets: list[int]
    salt: str = ""


class Cancel(Struct, frozen=True, tag=True):
    stream: int


TextCommand = Attach | Prepare | Check | Spell | Discard | Generate | Embed | Cancel


class TextReady(Struct, frozen=True, tag=True):
    pass


class PrepareDone(Struct, frozen=True, tag=True):
    call: int
    prepared: Prepared | None
    failure: Failure | None = None


class Checked(Struct, frozen=True, tag=True):
    call: int
    failure: Failure | None = None


class Spelled(Struct, frozen=True, tag=True):
    call: int
    spelling: Spelling | None
    failure: Failure | None = None


class Deltas(Struct, frozen=True, tag=True):
    """All deltas of one step, as (stream, delta)."""

    deltas: list[tuple[int, Delta]]


TextEvent = TextReady | PrepareDone | Checked | Spelled | Deltas
