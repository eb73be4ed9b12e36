"""Draws docs/recurrent-memory.svg: bytes of one sequence's cache against its length.

    python bench/memory_figure.py

From what the families declare for configs of published models; nothing is loaded.
"""

from dataclasses import dataclass
from math import log10
from pathlib import Path

import torch

from engine.models import llama, mamba2, qwen3_next
from engine.models.family import Family
from engine.models.meta import BaseConfig
from engine.nn.rope_scaling import RopeParameters

TARGET = Path(__file__).parents[1] / "docs/recurrent-memory.svg"

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 80, 200, 30, 60
FIRST_TOKENS, LAST_TOKENS = 2**6, 2**18
FIRST_BYTES, LAST_BYTES = 2**22, 2**36


@dataclass(frozen=True)
class Curve:
    """A model's name, and the bytes of a sequence: so many, and so many more for each token."""

    name: str
    colour: str
    fixed: int
    per_token: int

    def at(self, num_tokens: int) -> int:
        return self.fixed + self.per_token * num_tokens


def curve(name: str, colour: str, family: Family, config: BaseConfig) -> Curve:
    specs = family.build(config).cache_specs
    return Curve(
        name,
        colour,
        sum(spec.bytes_per_sequence for spec in specs),
        sum(spec.bytes_per_token(torch.bfloat16.itemsize) for spec in specs),
    )


def curves() -> list[Curve]:
    ropes = {"full_attention": RopeParameters(rope_theta=500000.0)}
    attention = llama.FAMILY.config(
        vocab_size=128256,
        hidden_size=3072,
        intermediate_size=8192,
        num_hidden_layers=28,
        num_attention_heads=24,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=131072,
        rms_norm_eps=1e-5,
        rope_parameters=ropes,
    )
    hybrid = qwen3_next.FAMILY.config(
        vocab_size=151936,
        hidden_size=2048,
        intermediate_size=5120,
        num_hidden_layers=48,
        num_attention_heads=16,
        num_key_value_heads=2,
        head_dim=256,
        max_position_embeddings=262144,
        rms_norm_eps=1e-6,
        rope_parameters=ropes,
        num_experts=512,
        num_experts_per_tok=10,
        moe_intermediate_size=512,
        shared_expert_intermediate_size=512,
    )
    recurrent = mamba2.FAMILY.config(
        vocab_size=50288,
        hidden_size=2560,
        num_hidden_layers=64,
        num_heads=80,
        head_dim=64,
        state_size=128,
        n_groups=1,
        max_position_embeddings=2**20,
        rms_norm_eps=1e-5,
    )
    return [
        curve("Llama 3.2 3B (attention)", "#c2410c", llama.FAMILY, attention),
        curve("Qwen3-Next 80B-A3B (both)", "#6d28d9", qwen3_next.FAMILY, hybrid),
        curve("Mamba-2 2.7B (states)", "#0f766e", mamba2.FAMILY, recurrent),
    ]


def svg(drawn: list[Curve]) -> str:
    font = 'font-family="sans-serif" font-size="13"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {font}>',
        "<title>Memory of one sequence against its length</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *_grid(),
        *(part for each in drawn for part in _line(each)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(num_tokens: float) -> float:
    share = log10(num_tokens / FIRST_TOKENS) / log10(LAST_TOKENS / FIRST_TOKENS)
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(num_bytes: float) -> float:
    share = log10(num_bytes / FIRST_BYTES) / log10(LAST_BYTES / FIRST_BYTES)
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _grid() -> list[str]:
    parts = []
    for power in range(6, 19, 2):
        x = _x(2**power)
        parts += [
            f'<line x1="{x}" y1="{TOP}" x2="{x}" y2="{HEIGHT - BOTTOM}" stroke="#e5e5e5"/>',
            _text(x, HEIGHT - BOTTOM + 20, _short(2**power), "middle"),
        ]
    for power in range(22, 37, 2):
        y = _y(2**power)
        parts += [
            f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="#e5e5e5"/>',
            _text(LEFT - 8, y + 4, f"{_short(2**power)}B", "end"),
        ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [*parts, _text(middle, HEIGHT - 15, "tokens of the sequence", "middle")]


def _line(each: Curve) -> list[str]:
    powers = [power / 4 for power in range(4 * 6, 4 * 18 + 1)]
    points = " ".join(f"{_x(2**power)},{_y(each.at(round(2**power)))}" for power in powers)
    end = _y(each.at(LAST_TOKENS))
    return [
        f'<polyline points="{points}" fill="none" stroke="{each.colour}" stroke-width="2.5"/>',
        _text(WIDTH - RIGHT + 8, end + 4, each.name, "start", each.colour),
    ]


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#333") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{text}</text>'


def _short(number: int) -> str:
    """Of a power of two."""
    for unit in ("", "Ki", "Mi"):
        if number < 2**10:
            return f"{number}{' ' if unit else ''}{unit}"
        number //= 2**10
    return f"{number} Gi"


if __name__ == "__main__":
    shown = curves()
    TARGET.write_text(svg(shown))
    for each in shown:
        sizes = ", ".join(f"{n}: {each.at(n) / 2**20:.0f} MiB" for n in (1024, 8192, 131072))
        print(f"{each.name}: {each.fixed} + {each.per_token} a token; {sizes}")
