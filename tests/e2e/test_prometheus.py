"""What a real Prometheus makes of a server that swaps: each panel of the dashboard has data."""

import asyncio
import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crowd import PROMPT, client_of, collect, needs
from dashboards import RULES, panels
from gateway_process import Gateway
from scraping import Prometheus, scraping

SCRAPES = 25
"""Seconds of load: the dashboard's rates are over ten of them."""

MODELS = ("llama-q-Q8_0", "gemma3-q-Q8_0")

_SETTINGS = """\
max_wait_seconds = 0.3
[pool]
min_dwell_seconds = 0
[limits]
queue_per_model = 2
"""


async def load_until(is_enough: Callable[[], bool], gateway: Gateway) -> None:
    """Both models at once, names that are not there, keys that are not ours, and too many who wait."""
    async with client_of(gateway) as client:
        while not await asyncio.to_thread(is_enough):
            wanted = [*MODELS * 5, "made up"]
            bodies = [{"model": model, "prompt": PROMPT, "max_tokens": 8} for model in wanted]
            asked = [client.post("/v1/completions", json=body) for body in bodies]
            refused = client.get("/v1/models", headers={"authorization": "Bearer rh-unknown"})
            await asyncio.gather(*asked, refused)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_panel_has_data(launch: Callable[..., Gateway], tmp_path: Path) -> None:
    """None of them asks for what is not told, or by a label that is not there."""
    folder = tmp_path / "models"
    folder.mkdir()
    collect(folder, [f"{name.rpartition('-')[0]}/{name}.gguf" for name in MODELS])
    (tmp_path / "roundhouse.toml").write_text(_SETTINGS)
    memory = max(needs(folder.iterdir())) + 2**20
    config = ("--config", str(tmp_path / "roundhouse.toml"))
    gateway = launch(folder, *config, "--memory", str(memory))
    with scraping(gateway.url, tmp_path / "prometheus", RULES) as prometheus:
        started = time.time()
        enough = f"count_over_time(up[5m]) >= {SCRAPES}"
        asyncio.run(load_until(lambda: prometheus.value(enough) > 0, gateway))
        found = {panel: told(prometheus, panel.expression, started) for panel in panels()}
        groups = prometheus.ask("rules")["groups"]

    assert [panel.title for panel, values in found.items() if not values] == []
    assert [rule for group in groups for rule in group["rules"] if rule["health"] != "ok"] == []


def told(prometheus: Prometheus, expression: str, start: float) -> list[float]:
    """What is a number: a quantile of nothing is none."""
    values = prometheus.values(expression, start, time.time())
    return [value for value in values if not math.isnan(value)]
