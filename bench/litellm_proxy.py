"""LiteLLM's proxy, in a virtual environment of its own, in front of one upstream.

$LITELLM names its program, and comes first. `python bench/litellm_proxy.py` installs it if there is
none.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from folders import LITELLM
from servers import free_port, wait_until_healthy

VERSION = "1.106.2"
_ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    # no key is checked, as on our side
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the internet for prices at its start
}
_MODEL = """\
  - model_name: {name}
    litellm_params: {{model: openai/{name}, api_base: {url}/v1, api_key: none}}
"""


def program() -> Path:
    """Exits where there is none: installing takes minutes, so one asks for it."""
    found = Path(os.environ.get("LITELLM", LITELLM / "bin/litellm"))
    if not found.is_file():
        raise SystemExit(f"no {found}: 'python bench/litellm_proxy.py' installs LiteLLM")
    return found


@contextmanager
def litellm(upstream: str, models: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Its URL and its process's id, once it answers. One worker, no database, no keys."""
    with TemporaryDirectory() as folder:
        config = Path(folder) / "config.yaml"
        entries = "".join(_MODEL.format(name=name, url=upstream) for name in models)
        config.write_text(f"model_list:\n{entries}litellm_settings: {{telemetry: false}}\n")
        port = free_port()
        command = [str(program()), "--config", str(config)]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        environment = {**os.environ, **_ENVIRONMENT}
        environment.pop("PYTHONPATH", None)  # it has its own packages
        silent = subprocess.DEVNULL
        with subprocess.Popen(command, env=environment, stdout=silent, stderr=silent) as process:
            try:
                url = f"http://127.0.0.1:{port}"
                wait_until_healthy(f"{url}/health/liveliness", process)
                yield url, process.pid
            finally:
                process.kill()  # else it waits for connections that nobody closes


def main() -> None:
    """Installs it, unless it is there."""
    if not (LITELLM / "bin/litellm").is_file():
        subprocess.run([sys.executable, "-m", "venv", LITELLM], check=True)
        wanted = f"litellm[proxy]=={VERSION}"
        subprocess.run([LITELLM / "bin/python", "-m", "pip", "install", "-q", wanted], check=True)
    print(program())


if __name__ == "__main__":
    main()
