"""Greedy output of the real models, token for token against a reference made outside our code."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gateway_process import ROOT, Gateway

REFERENCES = sorted((ROOT / "tests/data/greedy").glob("*.json"))


@pytest.fixture(scope="module")
def exact(launch: Callable[..., Gateway], demo_models: Path) -> Gateway:
    return launch(demo_models, "--memory", "3GiB", "--dtype", "float32")


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_greedy_tokens_equal_the_reference(exact, path):
    """In float32, 64 greedy tokens equal those of transformers, of prompts that share each step."""
    reference = json.loads(path.read_text())
    cases = reference["cases"]

    def answer(case: dict[str, Any]) -> list[int]:
        completion = exact.sdk.completions.create(
            model=reference["model"],
            prompt=case["prompt_ids"],
            max_tokens=len(case["greedy"]),
            temperature=0,
            extra_body={"ignore_eos": True},
            logprobs=0,
        )
        return completion.choices[0].logprobs.token_ids

    with ThreadPoolExecutor(len(cases)) as threads:
        answers = list(threads.map(answer, cases))

    for case, token_ids in zip(cases, answers, strict=True):
        assert token_ids == case["greedy"], case["name"]
