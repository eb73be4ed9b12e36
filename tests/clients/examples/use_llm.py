"""Simon Willison's `llm`, a model of whose is a few lines of YAML: `python use_llm.py URL MODEL OTHER EMBEDDER`."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

URL, MODEL, OTHER, _ = sys.argv[1:]
QUESTION = "What is the capital of France?"
SCHEMA = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}, "is_large": {"type": "boolean"}},
    "required": ["city", "is_large"],
    "additionalProperties": False,
}
MODELS = f"""
- {{model_id: small, model_name: {MODEL}, api_base: "{URL}/v1", supports_schema: true}}
- {{model_id: other, model_name: {OTHER}, api_base: "{URL}/v1"}}
- {{model_id: missing, model_name: nobody, api_base: "{URL}/v1"}}
"""

home = tempfile.mkdtemp()  # where `llm` keeps its settings and its log
Path(home, "extra-openai-models.yaml").write_text(MODELS)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("llm")
    given = [program, *arguments, "--key", "none"]
    environment = os.environ | {"LLM_USER_PATH": home}
    return subprocess.run(given, env=environment, capture_output=True, text=True, check=False)


def llm(*arguments: str) -> str:
    return run(*arguments).stdout.strip()


def stream() -> list[str]:
    """As a Python library."""
    os.environ["LLM_USER_PATH"] = home
    import llm

    model = llm.get_model("small")
    return list(model.prompt(QUESTION, key="none", temperature=0))


def swap() -> list[str]:
    """One conversation (`-c`), in which another model says something."""
    first = llm("-m", "small", QUESTION, "-o", "temperature", "0")
    second = llm(
        "-c", "-m", "other", "And of Italy?", "-o", "temperature", "0", "-o", "max_tokens", "20"
    )
    return [first, second, llm("-c", "-m", "small", QUESTION, "-o", "temperature", "0")]


def parsed() -> dict[str, Any]:
    return json.loads(llm("-m", "small", "--schema", json.dumps(SCHEMA), QUESTION))


print(json.dumps({
    "chat": llm("-m", "small", "--no-stream", QUESTION, "-o", "temperature", "0"),
    "stream": stream(),
    "object": parsed(),
    "swap": swap(),
    "errors": {"unknown_model": run("-m", "missing", "hi").stderr},
}))  # fmt: skip
