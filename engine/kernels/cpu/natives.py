"""Which native operation each op is: the order of its tensors, and its settings as numbers."""

from engine.kernels.cpu.lowering import Native, Shapes
from engine.kernels.cpu.natives_elementwise import ELEMENTWISE
from engine.kernels.cpu.natives_recurrent import RECURRENT
from engine.kernels.cpu.natives_routing import ROUTING
from engine.kernels.trace import Call


def _norm(call: Call, shapes: Shapes) -> tuple[float, ...]:
    """eps, and over how many values."""
    return (call.settings["eps"], shapes[call.tensors["x"][0]][-1])


def _longrope(call: Call, _: Shapes) -> tuple[float, ...]:
    return (call.settings["switch"], *call.settings["factors"])


def _head_dim(call: Call, shapes: Shapes) -> tuple[float, ...]:
    return (shapes[call.tensors["x"][0]][-1],)


def _heads(call: Call, shapes: Shapes) -> tuple[float, ...]:
    """Their number, and the rows of each that are multiplied."""
    return (shapes[call.tensors["x"][0]][1], call.settings["first"], call.settings["last"])


def _transposed(call: Call) -> str:
    return "head_linear_transposed" if call.settings.get("transposed") else "head_linear"


def _cache_heads(call: Call, shapes: Shapes) -> tuple[float, ...]:
    return (shapes[call.tensors["keys"][0]][-2],)


def _attention(call: Call, shapes: Shapes) -> tuple[float, ...]:
    """scale, window, softcap, the heads of queries and of caches, the sizes of keys and values."""
    _, num_heads, key_size = shapes[call.tensors["q"][0]]
    window, softcap = call.settings.get("window"), call.settings.get("softcap")
    scale, value_size = call.settings["scale"], call.shape[-1]
    heads = (num_heads, *_cache_heads(call, shapes))
    return (scale, window or 0, softcap or 0, *heads, key_size, value_size)


def _latent_attention(call: Call, shapes: Shapes) -> tuple[float, ...]:
    """scale, the size of values, the heads, the size of latents."""
    return (call.settings["scale"], call.settings["value_dim"], *shapes[call.tensors["q"][0]][1:])


def _encoder_attention(call: Call, shapes: Shapes) -> tuple[float, ...]:
    """scale, reach, the heads of keys, the size of a head."""
    _, num_heads, head_size = shapes[call.tensors["k"][0]]
    reach = call.settings.get("reach")
    return (call.settings["scale"], -1 if reach is None else reach, num_heads, head_size)


def _pooling(call: Call, _: Shapes) -> tuple[float, ...]:
    return (("mean", "first", "last").index(call.settings["pooling"]),)


NATIVE: dict[str, Native] = {
    "embedding": Native(("token_ids", "weight")),
    "linear": Native(("x", "weight", "bias")),
    "logits": Native(("x", "weight", "bias")),
    "expert_linear": Native(
        ("x", "weight", "chosen", "bias"), lambda call, _: (call.settings["num_experts"],)
    ),
    "head_linear": Native(("x", "weight"), _heads, _transposed),
    "rms_norm": Native(("x", "weight"), _norm),
    "layer_norm": Native(("x", "weight", "bias"), _norm),
    "l2_norm": Native(("x",), _norm),
    "rope_table": Native(("positions", "inv_freq"), lambda call, _: (call.settings["factor"],)),
    "longrope_table": Native(("positions", "lengths", "short", "long"), _longrope),
    "rope": Native(("x", "table"), _head_dim),
    "scale_by_position": Native(
        ("x", "positions"), lambda call, _: (call.settings["beta"], call.settings["period"])
    ),
    **ELEMENTWISE,
    **ROUTING,
    **RECURRENT,
    "cache_write": Native(("k", "v", "keys", "values"), _cache_heads),
    "latent_write": Native(("latent", "latents")),
    "paged_attention": Native(("q", "keys", "values", "sinks", "alibi"), _attention),
    "encoder_attention": Native(("q", "k", "v"), _encoder_attention),
    "pool_rows": Native(("x",), _pooling),
    "latent_attention": Native(("q", "latents", "chosen"), _latent_attention),
}
