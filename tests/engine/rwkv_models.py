"""Tiny RWKV models from a seed, and what they compute: a row at a time, in float64, as published."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # torch's own name for it

VOCAB, HIDDEN, HEAD, FFN, LAYERS = 96, 32, 8, 48, 4
HEADS = HIDDEN // HEAD
RANKS = {"w": 5, "a": 6, "v": 3, "g": 7}
Tensors = dict[str, Tensor]

CONFIG6 = {
    "architectures": ["Rwkv6ForCausalLM"],
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "head_size": HEAD,
    "intermediate_size": FFN,
    "num_hidden_layers": LAYERS,
    "rescale_every": 2,
    "lora_rank_tokenshift": 5,
    "lora_rank_decay": 6,
}
CONFIG7 = {
    "architectures": ["RWKV7ForCausalLM"],
    "vocab_size": VOCAB,
    "hidden_size": HIDDEN,
    "head_dim": HEAD,
    "intermediate_size": FFN,
    "num_hidden_layers": LAYERS,
    "decay_low_rank_dim": RANKS["w"],
    "a_low_rank_dim": RANKS["a"],
    "v_low_rank_dim": RANKS["v"],
    "gate_low_rank_dim": RANKS["g"],
}


def make(shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    """Spread so widely that a slip in any operation shows."""
    torch.manual_seed(3)
    return {name: 0.4 * torch.randn(shape) + (len(shape) == 1) for name, shape in shapes.items()}


def shapes6() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {
        "rwkv.embeddings.weight": (VOCAB, HIDDEN),
        "head.weight": (VOCAB, HIDDEN),
        **_norm("rwkv.blocks.0.pre_ln"),
        **_norm("rwkv.ln_out"),
    }
    for layer in range(LAYERS):
        block = f"rwkv.blocks.{layer}"
        att, ffn = f"{block}.attention", f"{block}.feed_forward"
        found |= _norm(f"{block}.ln1") | _norm(f"{block}.ln2") | _norm(f"{att}.ln_x")
        found |= {f"{att}.time_maa_{name}": (1, 1, HIDDEN) for name in "xwkvrg"}
        found |= {f"{att}.time_maa_w1": (HIDDEN, 25), f"{att}.time_maa_w2": (5, 5, HIDDEN)}
        found |= {f"{att}.time_decay_w1": (HIDDEN, 6), f"{att}.time_decay_w2": (6, HIDDEN)}
        found |= {f"{att}.time_decay": (1, 1, HIDDEN), f"{att}.time_faaaa": (HEADS, HEAD)}
        for name in ("receptance", "key", "value", "gate", "output"):
            found[f"{att}.{name}.weight"] = HIDDEN, HIDDEN
        found |= {f"{ffn}.time_maa_{name}": (1, 1, HIDDEN) for name in "kr"}
        found |= {f"{ffn}.key.weight": (FFN, HIDDEN), f"{ffn}.value.weight": (HIDDEN, FFN)}
        found[f"{ffn}.receptance.weight"] = HIDDEN, HIDDEN
    return found


def shapes7() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {
        "model.embeddings.weight": (VOCAB, HIDDEN),
        "lm_head.weight": (VOCAB, HIDDEN),
        **_norm("model.layers.0.pre_norm"),
        **_norm("model.norm"),
    }
    for layer in range(LAYERS):
        block = f"model.layers.{layer}"
        att, ffn = f"{block}.attn", f"{block}.ffn"
        found |= _norm(f"{block}.attn_norm") | _norm(f"{block}.ffn_norm") | _norm(f"{att}.g_norm")
        found |= {f"{att}.x_{name}": (1, 1, HIDDEN) for name in "rwkvag"}
        found |= {f"{att}.k_k": (HIDDEN,), f"{att}.k_a": (HIDDEN,), f"{att}.r_k": (HEADS, HEAD)}
        found |= {f"{att}.{name}_proj.weight": (HIDDEN, HIDDEN) for name in "rkvo"}
        for name in "wavg" if layer else "wag":
            found[f"{att}.{name}_lora.lora.0.weight"] = RANKS[name], HIDDEN
            found[f"{att}.{name}_lora.lora.2.weight"] = HIDDEN, RANKS[name]
            if name != "g":
                found[f"{att}.{name}_lora.lora.2.bias"] = (HIDDEN,)
        found |= {f"{ffn}.x_k": (HIDDEN,)}
        found |= {f"{ffn}.key.weight": (FFN, HIDDEN), f"{ffn}.value.weight": (HIDDEN, FFN)}
    return found


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (HIDDEN,), f"{name}.bias": (HIDDEN,)}


class Plain:
    """A model of these tensors. What is kept of the rows before is in `kept`, by name."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = {name: tensor.double().squeeze() for name, tensor in tensors.items()}
        self.kept: dict[str, Any] = {}

    def logprobs(self, token_ids: Sequence[int]) -> Tensor:
        """After each token, (tokens, vocab)."""
        return torch.stack([self.row(token) for token in token_ids]).log_softmax(-1)

    def row(self, token: int) -> Tensor:
        raise NotImplementedError

    def norm(self, x: Tensor, name: str, groups: int = 1, eps: float = 1e-5) -> Tensor:
        weight, bias = (self.tensors.get(f"{name}.{kind}") for kind in ("weight", "bias"))
        return F.group_norm(x[None], groups, weight, bias, eps)[0]

    def before(self, name: str, x: Tensor) -> Tensor:
        """The same of the row before, zero for the first."""
        previous = self.kept.get(name, torch.zeros_like(x))
        self.kept[name] = x
        return previous

    def state(self, name: str) -> Tensor:
        return self.kept.get(name, torch.zeros(HEADS, HEAD, HEAD, dtype=torch.double))


class Plain6(Plain):
    """arXiv:2404.05892, section 4."""

    def row(self, token: int) -> Tensor:
        x = self.norm(self.tensors["rwkv.embeddings.weight"][token], "rwkv.blocks.0.pre_ln")
        for layer in range(LAYERS):
            block = f"rwkv.blocks.{layer}"
            x = x + self.time_mix(self.norm(x, f"{block}.ln1"), f"{block}.attention.")
            x = x + self.channel_mix(self.norm(x, f"{block}.ln2"), f"{block}.feed_forward.")
        return self.tensors["head.weight"] @ self.norm(x, "rwkv.ln_out")

    def time_mix(self, x: Tensor, at: str) -> Tensor:
        t = {name.removeprefix(at): each for name, each in self.tensors.items() if at in name}
        change = self.before(at, x) - x
        mixed = torch.tanh((x + change * t["time_maa_x"]) @ t["time_maa_w1"]).view(5, -1)
        shifts = torch.einsum("ni,nio->no", mixed, t["time_maa_w2"])
        w, k, v, r, g = (
            x + change * (t[f"time_maa_{name}"] + shift)
            for name, shift in zip("wkvrg", shifts, strict=True)
        )
        decay = t["time_decay"] + torch.tanh(w @ t["time_decay_w1"]) @ t["time_decay_w2"]
        decay = torch.exp(-torch.exp(decay)).view(HEADS, HEAD)
        r, k, v = (
            (t[f"{name}.weight"] @ each).view(HEADS, HEAD)
            for name, each in (("receptance", r), ("key", k), ("value", v))
        )
        state, written = self.state(f"{at}S"), torch.einsum("hi,hj->hij", k, v)
        read = torch.einsum("hi,hij->hj", r, state + t["time_faaaa"][..., None] * written)
        self.kept[f"{at}S"] = decay[..., None] * state + written
        normed = self.norm(read.flatten(), f"{at}ln_x", HEADS, 64e-5)
        return t["output.weight"] @ (normed * F.silu(t["gate.weight"] @ g))

    def channel_mix(self, x: Tensor, at: str) -> Tensor:
        t = {name.removeprefix(at): each for name, each in self.tensors.items() if at in name}
        change = self.before(at, x) - x
        keys = F.relu(t["key.weight"] @ (x + change * t["time_maa_k"])) ** 2
        gate = t["receptance.weight"] @ (x + change * t["time_maa_r"])
        return torch.sigmoid(gate) * (t["value.weight"] @ keys)


class Plain7(Plain):
    """arXiv:2503.14456, section 4."""

    def row(self, token: int) -> Tensor:
        x = self.tensors["model.embeddings.weight"][token]
        if "model.layers.0.pre_norm.weight" in self.tensors:
            x = self.norm(x, "model.layers.0.pre_norm")
        for layer in range(LAYERS):
            block = f"model.layers.{layer}"
            x = x + self.time_mix(self.norm(x, f"{block}.attn_norm"), f"{block}.attn.")
            x = x + self.channel_mix(self.norm(x, f"{block}.ffn_norm"), f"{block}.ffn.")
        return self.tensors["lm_head.weight"] @ self.norm(x, "model.norm")

    def time_mix(self, x: Tensor, at: str) -> Tensor:
        t = {name.removeprefix(at): each for name, each in self.tensors.items() if at in name}
        change = self.before(at, x) - x
        mixed = {name: x + change * t[f"x_{name}"] for name in "rwkvag" if f"x_{name}" in t}

        def low_rank(name: str, act: Any = torch.clone) -> Tensor:
            inner = act(t[f"{name}_lora.lora.0.weight"] @ mixed[name])
            return t[f"{name}_lora.lora.2.weight"] @ inner + t.get(f"{name}_lora.lora.2.bias", 0)

        r, k, v = (t[f"{name}_proj.weight"] @ mixed[name] for name in "rkv")
        decay = torch.exp(-torch.exp(torch.tensor(-0.5)) * torch.sigmoid(low_rank("w", torch.tanh)))
        a = torch.sigmoid(low_rank("a"))
        if ".layers.0." in at:
            self.kept["v_first"] = v
        else:
            v = v + (self.kept["v_first"] - v) * torch.sigmoid(low_rank("v"))
        removal = F.normalize((k * t["k_k"]).view(HEADS, HEAD), dim=-1, eps=1e-12)
        k = k * (1 + (a - 1) * t["k_a"])
        r, k, v, a, decay = (each.view(HEADS, HEAD) for each in (r, k, v, a, decay))
        found = torch.einsum("hvk,hk->hv", self.state(f"{at}S"), -removal)
        state = self.state(f"{at}S") * decay[:, None] + torch.einsum("hv,hk->hvk", v, k)
        state = state + torch.einsum("hv,hk->hvk", found, removal * a)
        self.kept[f"{at}S"] = state
        read = torch.einsum("hvk,hk->hv", state, r).flatten()
        normed = self.norm(read, f"{at}g_norm", HEADS, HEAD * 1e-5)
        said = normed + ((r * k * t["r_k"]).sum(-1, keepdim=True) * v).flatten()
        return t["o_proj.weight"] @ (said * low_rank("g", torch.sigmoid) if "x_g" in t else said)

    def channel_mix(self, x: Tensor, at: str) -> Tensor:
        t = {name.removeprefix(at): each for name, each in self.tensors.items() if at in name}
        keys = F.relu(t["key.weight"] @ (x + (self.before(at, x) - x) * t["x_k"])) ** 2
        return t["value.weight"] @ keys
