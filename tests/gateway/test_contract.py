"""The gateway keeps to its own OpenAPI document; the long version is in `tests/e2e`."""

import asyncio
import sys
from pathlib import Path

from tests.gateway.live import add_model, serving

CONTRACT = Path(__file__).parents[1] / "support/contract.py"


async def test_answers_are_as_documented(fake_engine, tmp_path):
    """A few requests for each operation: statuses, media types, headers and bodies."""
    add_model(fake_engine, tmp_path, "tiny", weights_bytes=10, capabilities=("fill",))
    for name, task, size in (("vectors", "embedding", 2), ("judge", "rerank", 1)):
        card = add_model(
            fake_engine, tmp_path, name, tasks=(task,), embedding_size=size, weights_bytes=10
        )
        fake_engine.vector_sizes[card.path] = size
    async with serving(fake_engine, tmp_path) as live:
        arguments = ["--model", "tiny", "--embedder", "vectors", "--reranker", "judge"]
        run = await asyncio.create_subprocess_exec(
            sys.executable,
            str(CONTRACT),
            live.url,
            *arguments,
            *("--examples", "3"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await run.communicate()
        await live.answered()

    assert run.returncode == 0, output.decode()
