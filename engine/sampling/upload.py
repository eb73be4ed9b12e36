"""What the host has, on the logits' device: nothing waits for it."""

from collections.abc import Sequence

import torch
from torch import Tensor


def sent(values: Sequence[float], dtype: torch.dtype, device: torch.device) -> Tensor:
    return there(torch.tensor(values, dtype=dtype), device)


def there(host: Tensor, device: torch.device) -> Tensor:
    """A host's tensor there: itself on a CPU, else a copy from pinned memory, which torch keeps as long."""
    if device.type == "cpu":
        return host
    return host.pin_memory().to(device, non_blocking=True)
