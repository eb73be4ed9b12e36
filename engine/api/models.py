"""What a checkpoint is and needs, where it goes, and what loading it took."""

from typing import Literal

from msgspec import Struct

Task = Literal["chat", "completion", "embedding", "rerank"]
Form = Literal["dense", "packed", "tiled", "planes"]
DType = Literal["auto", "float32", "bfloat16"]
KVDType = Literal["auto", "q8_0", "fp8"]
"""What a model computes in, and what it keeps keys and values in: auto leaves it to who is asked."""
Capability = Literal["tools", "reasoning", "system", "fill"]
"""Beside its task: what a chat's template reads or writes, and whether the model can fill a gap.

tools: it is shown tools. reasoning: it marks its thoughts. system: it takes a system message as one,
where others are shown it with the first question. fill: its tokens can mark a gap.
"""


class Footprint(Struct, frozen=True):
    """Bytes that a model takes on a device in one resident form.

    dense: quantised weights are unpacked to the compute dtype when the model is loaded.
    packed: they stay as in the file and are unpacked in use; slower, and smaller.
    tiled: as native kernels read them, in a mapped image that is built at the first load.
    planes: as a GPU's kernels read them, copied from an image in host memory.
    A sequence takes bytes for each of its tokens, or as many whatever its length, or both.
    kind: of the devices that the form is for, as `Device.kind`.
    whole_weights_bytes, whole_kv_bytes_per_token, whole_state_bytes: what of it each of several devices
    has in full, if they hold the model together; the rest they share out.
    """

    form: Form
    weights_bytes: int
    kv_bytes_per_token: int
    workspace_bytes: int
    state_bytes_per_sequence: int = 0
    kind: str = "cpu"
    whole_weights_bytes: int = 0
    whole_kv_bytes_per_token: int = 0
    whole_state_bytes: int = 0

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
    capabilities: tuple[Capability, ...] = ()
    """By the checkpoint's own template and tokens; nothing was loaded to find out."""
    embedding_size: int = 0
    """Values of its vectors; 0 of a model that makes none."""
    is_matryoshka: bool = False
    """The first values of a vector are a good, shorter one."""
    prompts: dict[str, str] = {}
    """What the model wants before a text to embed, by what the text is for: "query", "document"."""


class Device(Struct, frozen=True):
    """A device that one worker owns. `memory_bytes` is what the worker may use of it.

    kind: "cpu" or "cuda", as torch calls it. uuid: of a GPU.
    """

    name: str
    memory_bytes: int
    kind: str = "cpu"
    uuid: str = ""


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
    parked_bytes: for the caches of evicted and paused models. shares: how many workers divide what is
    left to the engine: of GPUs, whose images in host memory are their own.
    """

    warm_bytes: int | None = None
    parked_bytes: int | None = None
    shares: int = 1


class LoadOrder(Struct, frozen=True):
    """Make a checkpoint ready on a device.

    `handle` is never reused: whoever still holds one from before an eviction gets `stale_handle`.
    kv_tokens, state_slots: what the cache has room for; a model ignores what it keeps nothing of.
    resumes: the handle is of a paused model, whose sequences go on; all else is as in its first order.
    others: devices that hold the model together with `device`, an equal share each; `device` is then
    asked for all of them.
    dtype, kv_dtype: what to compute in, and to keep keys and values in; auto is what the worker was
    started with.
    """

    handle: int
    device: str
    path: str
    form: Form
    kv_tokens: int
    state_slots: int = 0
    resumes: bool = False
    others: tuple[str, ...] = ()
    dtype: DType = "auto"
    kv_dtype: KVDType = "auto"


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
