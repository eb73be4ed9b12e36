from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.fakes import FakeEngine
from tests.gateway.live import Live, add_model, serving


@pytest.fixture
async def live(fake_engine: FakeEngine, tmp_path: Path) -> AsyncIterator[Live]:
    """A gateway with two models that chat, `org/tiny` and `other`, and one that completes only.

    Tools are for the first alone, and filling gaps for the last.
    """
    add_model(fake_engine, tmp_path, "org/tiny", capabilities=("tools", "reasoning"))
    add_model(fake_engine, tmp_path, "other")
    add_model(fake_engine, tmp_path, "base", tasks=("completion",), capabilities=("fill",))
    (tmp_path / "broken.gguf").write_bytes(b"<html>")
    async with serving(fake_engine, tmp_path) as live:
        yield live
