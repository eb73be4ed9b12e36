"""The values of rows in planes, exactly as the format that they were stored in has them."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from engine.kernels.plane_layouts import OF_HALF_RUNS, PLANES, RUN, plane_format
from engine.quant.iquants import uneven_steps
from engine.quant.microscaling import doubled_steps, half_power

_INTEGERS = ("I4_32", "I4_128", "I8_32", "I8_128")


def plane_values(format_name: str, rows: Tensor, columns: int) -> Tensor:
    """(N, columns) float32, on the rows' device. rows: (N, row bytes) uint8 in a format of planes.

    value = (code - zero) * scale + minimum, each rounded to float32 in this order.
    """
    layout = plane_format(format_name)
    name = format_name.removeprefix(PLANES)
    num_runs = -(-columns // RUN)
    planes = [
        rows[:, start : start + -(-columns // num_values) * entry_bytes]
        for start, (entry_bytes, num_values) in zip(
            layout.offsets(columns), layout.planes, strict=False
        )
    ]
    codes = _codes(layout.bits, planes).view(len(rows), num_runs * RUN)[:, :columns]
    stored = planes[len(layout.bits) :]
    if name == "F8":
        values = codes.contiguous().view(torch.float8_e4m3fn).float()
    elif name in _STEPS:
        values = _STEPS[name](rows.device)[codes.int()]
    elif name in _INTEGERS:
        values = codes.float().sub_(_spread(stored[1].float(), layout.scales[1][1], columns))
    else:
        values = codes.float().sub_(layout.zero)
    group = RUN // 2 if name in OF_HALF_RUNS else layout.scales[0][1]
    is_wide = name == "F8" or name in _INTEGERS
    scales, minima = (stored[0].view(torch.float32), None) if is_wide else _scales(name, stored)
    values.mul_(_spread(scales, group, columns))
    return values if minima is None else values.add_(_spread(minima, group, columns))


def _codes(bits: Sequence[int], planes: Sequence[Tensor]) -> Tensor:
    """(N, runs, 32) uint8 of the planes of codes."""
    num_rows, shift, codes = len(planes[0]), 0, None
    for width, plane in zip(bits, planes, strict=False):
        words = plane.reshape(num_rows, -1, 1, 16 if width == 4 else 4)
        places = torch.arange(0, 8, width, dtype=torch.uint8, device=plane.device).unsqueeze(1)
        fields = (words >> places & (1 << width) - 1).view(num_rows, -1, RUN)
        codes = fields if codes is None else codes | fields << shift
        shift += width
    assert codes is not None
    return codes


def _spread(entries: Tensor, group: int, columns: int) -> Tensor:
    """(N, groups) as (N, columns), each repeated for its group's values."""
    return entries.repeat_interleave(group, dim=1)[:, :columns]


def _scales(name: str, stored: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
    """Scales and minima of each group, (N, groups) float32, of formats whose scales aren't float32."""
    first = stored[0]
    match name:
        case "MXFP4":
            return half_power(first), None
        case "Q8_0" | "Q4_0" | "Q5_0" | "IQ4_NL":
            return first.view(torch.float16).float(), None
        case "Q4_1" | "Q5_1":
            return _pair(first.view(torch.float16).float())
        case "Q6_K" | "Q3_K" | "IQ4_XS":
            deltas = stored[1].view(torch.float16).float()
            factors = first.view(torch.int8)
            return _factored(deltas, factors), None
        case "Q2_K":
            scales, minima = _pair(stored[1].view(torch.float16).float())
            return _factored(scales, first & 0x0F), -_factored(minima, first >> 4)
        case _:
            scales, minima = _pair(stored[1].view(torch.float16).float())
            of_scales, of_minima = _pair(first)
            return _factored(scales, of_scales), -_factored(minima, of_minima)


def _pair(entries: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 2 * n) as two of (N, n)."""
    return entries[:, 0::2], entries[:, 1::2]


def _factored(deltas: Tensor, factors: Tensor) -> Tensor:
    """Deltas (N, n), factors (N, k * n): a product for each factor."""
    apart = factors.reshape(*deltas.shape, -1)
    return (deltas.unsqueeze(2) * apart).flatten(1)


_STEPS: Mapping[str, Callable[[torch.device], Tensor]] = {
    "IQ4_NL": uneven_steps,
    "IQ4_XS": uneven_steps,
    "MXFP4": doubled_steps,
}
