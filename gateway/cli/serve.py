"""`roundhouse serve`: the gateway, the engine, and a word on what can be asked of them."""

import argparse
import asyncio
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import msgspec

from gateway.cli.errors import CommandError
from gateway.cli.url import url_of

if TYPE_CHECKING:
    from litestar.datastructures import State

    from gateway.catalog.catalog import Catalog
    from gateway.catalog.models import KnownModel
    from gateway.config import Settings
    from gateway.config.discovery import StoreName
    from gateway.config.source import Source
    from gateway.gpus import Gpu

INSPECTION_SECONDS = 60

_OPTIONS = (
    "models_dir",
    "host",
    "port",
    "memory",
    "devices",
    "threads",
    "warm_memory",
    "parked_memory",
    "dtype",
    "kv_dtype",
    "speculate",
    "image_cache",
)
"""Settings that the command line can give."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("serve", help="answer OpenAI clients until stopped")
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: ./roundhouse.toml")
    parser.add_argument("--models-dir", type=Path, metavar="DIR", help="default: ./models")
    parser.add_argument(
        "--stores",
        type=store_names,
        metavar="NAMES",
        help="serve what these programs have downloaded too: huggingface, llamacpp, ollama, lmstudio,"
        " with commas between, or 'auto' for all of them (default: none)",
    )
    parser.add_argument("--host", help="default: 127.0.0.1")
    parser.add_argument("--port", type=int, help="default: 8080; 0 takes a free one")
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="what models may take, as 2GiB (default: the GPUs, or 60%% of RAM)",
    )
    parser.add_argument(
        "--device",
        action="append",
        dest="devices",
        metavar="DEVICE",
        help="a worker with memory of its own, as cpu:2GiB, cuda:0 or cuda:1:40GiB; may be repeated"
        " (default: every GPU, or the CPU where there is none)",
    )
    parser.add_argument(
        "--threads", type=int, help="what each worker computes with (default: every core)"
    )
    parser.add_argument(
        "--warm-memory",
        metavar="SIZE",
        help="memory for weights of models that made room, so that they come back at once",
    )
    parser.add_argument(
        "--parked-memory",
        metavar="SIZE",
        help="memory for the caches of models that made room",
    )
    parser.add_argument(
        "--dtype",
        choices=("auto", "float32", "bfloat16"),
        help="what is computed and cached in; float32 is exact and slow (default: auto)",
    )
    parser.add_argument(
        "--kv-dtype",
        choices=("auto", "q8_0", "fp8"),
        help="what keys and values are kept in; q8_0 and fp8 take half the memory, fp8 is for GPUs"
        " (default: auto)",
    )
    parser.add_argument(
        "--speculate",
        type=int,
        metavar="N",
        help="tokens to guess ahead at most, where a text repeats itself; it says the same, sooner"
        " (default: 0, none)",
    )
    parser.add_argument(
        "--image-cache",
        metavar="DIR",
        help="where weights are kept as kernels read them, or 'off' (default: the user's cache)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from engine.api import EngineError
    from gateway.app import serve
    from gateway.config import SettingsError
    from gateway.log import configure_logging

    try:
        settings = read_settings(args)
        configure_logging(settings.log_format)
        serve(settings, Announcer().on_ready, source_of(args))
    except (SettingsError, EngineError) as error:
        raise CommandError(str(error)) from None


def read_settings(args: argparse.Namespace) -> "Settings":
    """The configuration file's settings with the command line's over them.

    Raises CommandError without a models folder, SettingsError for everything else.
    """
    from gateway.cli.memory import default_budget
    from gateway.config import load_settings
    from gateway.devices import with_devices

    settings = load_settings(args.config, {name: getattr(args, name) for name in _OPTIONS})
    if args.stores is not None:
        discovery = msgspec.structs.replace(settings.discovery, stores=args.stores)
        settings = msgspec.structs.replace(settings, discovery=discovery)
    if not settings.models_dir.is_dir() and not settings.discovery.stores:
        raise CommandError(
            f"there is no models folder {settings.models_dir}: make it, name another with "
            f"--models-dir, or 'roundhouse demo {settings.models_dir}' fills one; "
            "--stores auto serves what Ollama, LM Studio, llama.cpp or huggingface_hub downloaded"
        )
    settings = with_devices(settings, _gpus(settings))
    if settings.memory is None and not settings.devices:
        settings = msgspec.structs.replace(settings, memory=default_budget())
    return settings


def _gpus(settings: "Settings") -> "list[Gpu]":
    """Those that the settings may mean: asked for by name, or all that torch can use."""
    from gateway.devices import names_gpus
    from gateway.gpus import gpus_here, torch_has_gpus

    is_asked = names_gpus(settings) or (not settings.devices and torch_has_gpus())
    return gpus_here(os.environ) if is_asked else []


def source_of(args: argparse.Namespace) -> "Source":
    """Has the settings read again as they were at the start, the command line over them."""
    from gateway.config.source import Source

    return Source(lambda: read_settings(args), args.config)


def store_names(text: str) -> "list[StoreName | Literal['auto']]":
    """The argument of `--stores`. Raises what argparse reports."""
    from gateway.config.discovery import StoreName

    known = (*get_args(StoreName), "auto")
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
    return msgspec.convert(names, list[StoreName | Literal["auto"]])


class Announcer:
    """Says on standard output where the server is and what it found, once it is known."""

    def on_ready(self, state: "State") -> None:
        # Kept, since the loop itself keeps only weak references to its tasks.
        self._task = asyncio.get_running_loop().create_task(self._announce(state))

    async def _announce(self, state: "State") -> None:
        from gateway.keys.gate import anonymous_scopes

        host, port = state.address
        services = state.services
        url = url_of(host, port, "https" if services.settings.tls else "http")
        print(f"Roundhouse listens on {url}", flush=True)
        await services.catalog.wait(INSPECTION_SECONDS)
        print(findings(services.catalog, services.settings), flush=True)
        line = curl_line(url, services.catalog.models)
        if "infer" not in anonymous_scopes(services.settings):
            line += ' -H "Authorization: Bearer $ROUNDHOUSE_API_KEY"'
        print(f"\nTry:\n{line}\n", flush=True)


def findings(catalog: "Catalog", settings: "Settings") -> str:
    """The models that were found, and what is wrong with the rest."""
    budget_gib = settings.total_memory / 2**30
    places = ", ".join([str(settings.models_dir), *_stores(settings)])
    lines = [f"Models in {places}, {budget_gib:.1f} GiB of memory for them:"]
    lines += [f"  {model.id}  ({_does(model)})" for model in catalog.models]
    lines += [f"  {name}: cannot be served: {why}" for name, why in catalog.failures.items()]
    return "\n".join(lines if len(lines) > 1 else [*lines, "  none yet; put a .gguf file there"])


def curl_line(url: str, models: "list[KnownModel]") -> str:
    """A request that works here, ready for a shell."""
    chats = [model for model in models if _can_chat(model)]
    body: dict[str, object]
    if chats:
        message = {"role": "user", "content": "What is the capital of France?"}
        path, body = "chat/completions", {"model": chats[0].id, "messages": [message]}
    elif models:
        path, body = "completions", {"model": models[0].id, "prompt": "Once upon a time"}
    else:
        return f"  curl {url}/v1/models"
    data = shlex.quote(json.dumps(body | {"temperature": 0, "stream": True}))
    return f"  curl -N {url}/v1/{path} -H 'Content-Type: application/json' -d {data}"


def _stores(settings: "Settings") -> list[str]:
    """The folders of stores that are there."""
    from gateway.catalog.stores import stores_of

    return [str(s.folder) for s in stores_of(settings.discovery) if s.folder.is_dir()]


def _does(model: "KnownModel") -> str:
    does = "chats" if _can_chat(model) else "completes"
    return f"{model.card.family}, {model.card.quantization}, {does}"


def _can_chat(model: "KnownModel") -> bool:
    return "chat" in model.card.tasks or model.chat_template is not None
