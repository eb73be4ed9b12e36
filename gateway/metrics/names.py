"""What each model's numbers are called, by us and by vLLM (vllm/v1/metrics/loggers.py).

vLLM's have the labels `model_name` and `engine`, ours `model`.
"""

from typing import NamedTuple

FIRST_BOUNDS = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
REQUEST_BOUNDS = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
TOKEN_BOUNDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0)
COUNT_BOUNDS = tuple(digit * 10**power for power in range(6) for digit in (1.0, 2.0, 5.0))
CHOICE_BOUNDS = (1.0, 2.0, 5.0, 10.0, 20.0)


class Family(NamedTuple):
    """own: our name; none where vLLM's is the only one who asks. vllm: its names, old ones last."""

    help: str
    own: str = ""
    vllm: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


REQUESTS = {
    "first": Family(
        "Time from a request to the first of its answer.",
        "roundhouse_time_to_first_token_seconds",
        ("vllm:time_to_first_token_seconds",),
        FIRST_BOUNDS,
    ),
    "request": Family(
        "Time from a request to the end of its answer.",
        "roundhouse_request_seconds",
        ("vllm:e2e_request_latency_seconds",),
        REQUEST_BOUNDS,
    ),
    "prepare": Family(
        "Time from a request until its prompt was tokens.",
        "roundhouse_request_prepare_seconds",
        bounds=FIRST_BOUNDS,
    ),
    "queue": Family(
        "Time that a request waited for its model, loads included, and for its first step.",
        "roundhouse_request_queue_seconds",
        ("vllm:request_queue_time_seconds",),
        REQUEST_BOUNDS,
    ),
    "prefill": Family(
        "Time in which a request's prompt was read.",
        "roundhouse_request_prefill_seconds",
        ("vllm:request_prefill_time_seconds",),
        REQUEST_BOUNDS,
    ),
    "decode": Family(
        "Time from the first of an answer to its last.",
        "roundhouse_request_decode_seconds",
        ("vllm:request_decode_time_seconds",),
        REQUEST_BOUNDS,
    ),
    "inference": Family(
        "Time of prefill and decode together.",
        vllm=("vllm:request_inference_time_seconds",),
        bounds=REQUEST_BOUNDS,
    ),
    "token": Family(
        "Time for each token of an answer after its first.",
        vllm=("vllm:request_time_per_output_token_seconds",),
        bounds=TOKEN_BOUNDS,
    ),
    "prompt_tokens": Family(
        "Tokens of a request's prompts.",
        "roundhouse_request_prompt_tokens",
        ("vllm:request_prompt_tokens",),
        COUNT_BOUNDS,
    ),
    "generated_tokens": Family(
        "Tokens of a request's answer.",
        "roundhouse_request_generated_tokens",
        ("vllm:request_generation_tokens",),
        COUNT_BOUNDS,
    ),
    "longest_tokens": Family(
        "Tokens of a request's longest choice.",
        vllm=("vllm:request_max_num_generation_tokens",),
        bounds=COUNT_BOUNDS,
    ),
    "choices": Family(
        "Choices that a request asked for.", vllm=("vllm:request_params_n",), bounds=CHOICE_BOUNDS
    ),
    "max_tokens": Family(
        "Tokens that a request asked for at most, where it said.",
        vllm=("vllm:request_params_max_tokens",),
        bounds=COUNT_BOUNDS,
    ),
}
"""Histograms of requests that ended with an answer, by model."""

TOKEN_SECONDS = Family(
    "Time from one token of an answer to the next, pauses included.",
    "roundhouse_inter_token_seconds",
    ("vllm:inter_token_latency_seconds", "vllm:time_per_output_token_seconds"),
)
STEP_TOKENS = Family(
    "Tokens that a step of a model computed.",
    "roundhouse_step_tokens",
    ("vllm:iteration_tokens_total",),
)

COUNTS = {
    "prompt_tokens": Family(
        "Tokens of prompts that began.",
        "roundhouse_model_prompt_tokens",
        ("vllm:prompt_tokens", "vllm:prefix_cache_queries", "vllm:gpu_prefix_cache_queries"),
    ),
    "cached_tokens": Family(
        "Tokens of prompts that a prefix cache had.",
        "roundhouse_model_cached_prompt_tokens",
        ("vllm:prefix_cache_hits", "vllm:gpu_prefix_cache_hits"),
    ),
    "generated_tokens": Family(
        "Tokens that were made.", "roundhouse_generated_tokens", ("vllm:generation_tokens",)
    ),
    "preemptions": Family(
        "Sequences that gave their cache to others and began again.",
        "roundhouse_preemptions",
        ("vllm:num_preemptions",),
    ),
}
"""Counters of `engine.api.ModelStats`, by model; their names end with `_total` when they are told."""

RUNNING = Family("Requests that a model works on.", vllm=("vllm:num_requests_running",))
WAITING = Family(
    "Requests that wait for their model, or for room in it.", vllm=("vllm:num_requests_waiting",)
)
KV_USAGE = Family(
    "Share of a loaded model's cache that sequences hold.",
    "roundhouse_kv_usage_ratio",
    ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"),
)
