import re

from prometheus_client.parser import text_string_to_metric_families

from engine.api import DeviceStats, EngineError, ModelStats
from tests.gateway.live import IMPATIENT, Live, add_model, serving

CHAT = {"messages": [{"role": "user", "content": "x"}]}


async def samples(live: Live) -> dict[tuple[str, str], float]:
    """Values by name and labels, as `a=b,c=d`."""
    response = await live.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (s.name, ",".join(f"{key}={value}" for key, value in sorted(s.labels.items()))): s.value
        for family in text_string_to_metric_families(response.text)
        for s in family.samples
    }


async def test_an_idle_server(live):
    """Everything is free, and what never happened is nought."""
    found = await samples(live)

    assert found["roundhouse_device_planned_bytes", "device=cpu,kind=free"] == 1000
    assert found["roundhouse_swap_seconds_total", "device=cpu"] == 0
    assert found["process_open_fds", ""] > 0


async def test_swaps_show(fake_engine, tmp_path):
    """Loads, the eviction between them and its reason, waits, bytes, and who is there."""
    for model in ("one", "two"):
        add_model(fake_engine, tmp_path, model, weights_bytes=600)
    pool = {"min_dwell_seconds": 0, "dwell_factor": 0}
    async with serving(fake_engine, tmp_path, pool=pool) as live:
        for model in ("one", "two", "two"):
            reply = await live.http.post("/v1/chat/completions", json=CHAT | {"model": model})
            assert reply.status_code == 200
        found = await samples(live)

    for model in ("one", "two"):
        labels = f"model={model},outcome=loaded,tier=disk"
        assert found["roundhouse_loads_total", labels] == 1
    assert found["roundhouse_evictions_total", "reason=room"] == 1
    assert found["roundhouse_dwell_seconds_count", ""] == 1
    assert found["roundhouse_queue_wait_seconds_count", ""] == 3
    assert found["roundhouse_device_planned_bytes", "device=cpu,kind=models"] == 600
    assert found["roundhouse_device_used_bytes", "device=cpu,kind=weights"] == 600
    assert found["roundhouse_ledger_error_bytes", "model=two"] == 0
    assert found["roundhouse_requests_running", "model=two"] == 0
    assert ("roundhouse_ledger_error_bytes", "model=one") not in found


async def test_refusals_show(fake_engine, tmp_path):
    """By why; here the queue is full."""
    add_model(fake_engine, tmp_path, "tiny")
    fake_engine.hold_loads = True
    chat = CHAT | {"model": "tiny", "stream": True}
    limits = IMPATIENT | {"queue_per_model": 1}
    async with (
        serving(fake_engine, tmp_path, limits=limits) as live,
        live.http.stream("POST", "/v1/chat/completions", json=chat) as first,
    ):
        lines = first.aiter_lines()
        while await anext(lines) != ": loading tiny 0%":
            pass
        reply = await live.http.post("/v1/chat/completions", json=chat)
        found = await samples(live)
        fake_engine.finish_load(fake_engine.loads[0].path)
        assert [line async for line in lines][-2] == "data: [DONE]"

    assert reply.status_code == 429
    assert found["roundhouse_refusals_total", "reason=queue_is_full"] == 1
    assert found["roundhouse_requests_waiting", "model=tiny"] == 1


async def test_workers_tell_their_own(fake_engine, tmp_path):
    """What they count of prompts, of guesses and of the host's memory passes through."""
    stats = DeviceStats(
        9,
        warm_bytes=5,
        parked_bytes=3,
        prompt_tokens=40,
        cached_tokens=10,
        drafted_tokens=8,
        accepted_tokens=6,
    )
    fake_engine.stats = {"cpu": stats}
    async with serving(fake_engine, tmp_path) as live:
        found = await samples(live)

    assert found["roundhouse_host_bytes", "device=cpu,kind=warm"] == 5
    assert found["roundhouse_host_bytes", "device=cpu,kind=parked"] == 3
    assert found["roundhouse_prompt_tokens_total", "device=cpu"] == 40
    assert found["roundhouse_cached_prompt_tokens_total", "device=cpu"] == 10
    assert found["roundhouse_steps_total", "device=cpu"] == 9
    assert found["roundhouse_drafted_tokens_total", "device=cpu"] == 8
    assert found["roundhouse_accepted_tokens_total", "device=cpu"] == 6


async def test_a_lost_worker_shows(live):
    """It is being started anew."""
    live.engine.lose("cpu")

    assert (await samples(live))["roundhouse_worker_restarts_total", "device=cpu"] == 1


async def test_openmetrics_for_who_asks(live):
    """Prometheus itself does."""
    accept = {"accept": "application/openmetrics-text; version=1.0.0"}
    response = await live.http.get("/metrics", headers=accept)

    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")


async def test_a_failed_load_shows(fake_engine, tmp_path):
    """Once, however many waited for it."""
    add_model(fake_engine, tmp_path, "tiny")
    fake_engine.errors["load"] = EngineError("bad_checkpoint", "cut short")
    async with serving(fake_engine, tmp_path) as live:
        reply = await live.http.post("/v1/chat/completions", json=CHAT | {"model": "tiny"})
        found = await samples(live)

    assert reply.status_code == 503
    assert found["roundhouse_loads_total", "model=tiny,outcome=failed,tier=none"] == 1
    assert found["roundhouse_refusals_total", "reason=cannot_load"] == 1


STATS = ModelStats(
    running=1,
    waiting=0,
    block_size=16,
    num_blocks=10,
    free_blocks=4,
    prompt_tokens=100,
    cached_tokens=25,
    generated_tokens=7,
    preemptions=2,
)


async def _answered_by(live: Live, *models: str) -> None:
    for model in models:
        chat = CHAT | {"model": model, "max_tokens": 3}
        assert (await live.http.post("/v1/chat/completions", json=chat)).status_code == 200


async def test_vllm_names_tell_the_same(fake_engine, tmp_path):
    """Its labels, its reasons, and what the worker counts of the model's checkpoint."""
    card = add_model(fake_engine, tmp_path, "tiny")
    fake_engine.stats["cpu"] = DeviceStats(models={card.path: STATS, "/elsewhere": STATS})
    async with serving(fake_engine, tmp_path) as live:
        await _answered_by(live, "tiny")
        found = await samples(live)

    labels = "engine=0,model_name=tiny"
    assert found["vllm:time_to_first_token_seconds_count", labels] == 1
    assert found["vllm:e2e_request_latency_seconds_count", labels] == 1
    assert found["vllm:request_generation_tokens_sum", labels] == 3
    assert found["vllm:request_params_max_tokens_sum", labels] == 3
    assert (
        found["vllm:request_success_total", "engine=0,finished_reason=length,model_name=tiny"] == 1
    )
    assert found["vllm:prefix_cache_queries_total", labels] == 100
    assert found["vllm:prefix_cache_hits_total", labels] == 25
    assert found["vllm:generation_tokens_total", labels] == 7
    assert found["vllm:num_preemptions_total", labels] == 2
    assert found["vllm:kv_cache_usage_perc", labels] == 0.6
    config = "block_size=16,engine=0,model_name=tiny,num_gpu_blocks=10"
    assert found["vllm:cache_config_info", config] == 1
    assert found["roundhouse_requests_total", "model=tiny,outcome=length"] == 1
    assert found["roundhouse_model_state", "model=tiny,state=loaded"] == 1


async def test_vllm_names_can_be_left_out(fake_engine, tmp_path):
    """Ours stay."""
    add_model(fake_engine, tmp_path, "tiny")
    async with serving(fake_engine, tmp_path, metrics={"vllm_names": False}) as live:
        await _answered_by(live, "tiny")
        found = await samples(live)

    assert not [name for name, _ in found if name.startswith("vllm:")]
    assert found["roundhouse_time_to_first_token_seconds_count", "model=tiny"] == 1


async def test_pickers_get_one_series_each(fake_engine, tmp_path):
    """Of all models together: they read the first and no other."""
    for model in ("one", "two"):
        card = add_model(fake_engine, tmp_path, model, weights_bytes=100)
        fake_engine.stats.setdefault("cpu", DeviceStats(models={}))
        fake_engine.stats["cpu"].models[card.path] = STATS
    async with serving(fake_engine, tmp_path) as live:
        await _answered_by(live, "one", "two")
        text = (await live.http.get("/metrics/epp")).text

    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    assert all(len(told) == 1 for told in families.values())
    assert families["vllm:kv_cache_usage_perc"][0].value == 0.6
    assert families["vllm:cache_config_info"][0].labels == {
        "block_size": "16",
        "num_gpu_blocks": "20",
    }
    assert families["vllm:num_requests_running"][0].value == 0
    assert families["vllm:num_requests_waiting"][0].value == 0


async def test_an_idle_server_tells_pickers_too(live):
    """One that has loaded nothing yet is the freest of all."""
    families = text_string_to_metric_families((await live.http.get("/metrics/epp")).text)

    assert {family.name: len(family.samples) for family in families} == {
        "vllm:num_requests_running": 1,
        "vllm:num_requests_waiting": 1,
        "vllm:kv_cache_usage_perc": 1,
        "vllm:cache_config_info": 1,
    }


async def test_made_up_and_removed_models_have_no_series(fake_engine, tmp_path):
    """Names of clients never; names of models as long as they are there."""
    add_model(fake_engine, tmp_path, "tiny")
    add_model(fake_engine, tmp_path, "gone")
    async with serving(fake_engine, tmp_path) as live:
        await _answered_by(live, "tiny", "gone")
        await live.http.post("/v1/chat/completions", json=CHAT | {"model": "made up"})
        (tmp_path / "gone.gguf").unlink()
        await live.services.catalog.refresh()
        found = await samples(live)

    models = {
        value for _, labels in found for value in re.findall(r"model(?:_name)?=([^,]*)", labels)
    }
    assert models == {"tiny"}
    assert found["roundhouse_errors_total", "code=model_not_found"] == 1
    route = "method=POST,route=/v1/chat/completions,status=404"
    assert found["roundhouse_http_responses_total", route] == 1
