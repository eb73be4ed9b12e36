"""Our own: all that is known of a model, for the person who runs the server."""

from msgspec import Struct

from gateway.openai.models import Model


class Need(Struct, frozen=True):
    """bytes: what the model takes with a cache for so many tokens."""

    tokens: int
    bytes: int


class ModelDetails(Struct, frozen=True, kw_only=True):
    """path: of its file or folder. licences: files beside it that tell its terms.

    digest: of its headers. chat_template: whose is used. max_context: what the checkpoint knows,
    of which the server gives `model.context_length`. form: how its weights would be in memory.
    dtype, kv_dtype: what it is computed in, and keeps keys and values in, as the settings say it.
    needs: with caches of several sizes, in that form.
    """

    model: Model
    path: str
    licences: list[str]
    digest: str
    chat_template: str
    max_context: int
    vocab_size: int
    form: str
    dtype: str
    kv_dtype: str
    weights_bytes: int
    workspace_bytes: int
    kv_bytes_per_token: int
    state_bytes_per_sequence: int
    needs: list[Need]
