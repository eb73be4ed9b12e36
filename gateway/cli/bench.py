"""`roundhouse bench MODEL`: how fast the running server answers with it, as a client sees it."""

import argparse
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gateway.cli.errors import CommandError
from gateway.cli.names import add_model
from gateway.cli.tables import Columns, Json, add_json, print_json, seconds, show
from gateway.cli.url import add_url

if TYPE_CHECKING:
    from gateway.cli.server import Server

_WORDS = ("the", "a", "of", "river", "house", "light", "seven", "under", "walks", "green", "and")

COLUMNS: Columns = {
    "RUN": lambda run: str(run["name"]),
    "PROMPT": lambda run: f"{run['prompt_tokens']} tokens",
    "FIRST TOKEN": lambda run: seconds(run["ttft_seconds"]),
    "PREFILL": lambda run: f"{run['prefill']:.0f} tokens/s",
    "DECODE": lambda run: f"{run['decode']:.1f} tokens/s",
}


@dataclass(frozen=True, slots=True)
class Run:
    """prefill, decode: tokens per second. prefill: of the prompt, over the time to the first token."""

    name: str
    prompt_tokens: int
    completion_tokens: int
    ttft_seconds: float
    prefill: float
    decode: float


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("bench", help="measure how fast the server answers with a model")
    add_model(parser)
    parser.add_argument("--runs", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--prompt", type=int, default=256, metavar="WORDS", help="default: %(default)s"
    )
    parser.add_argument(
        "--tokens", type=int, default=64, help="that are generated (default: %(default)s)"
    )
    parser.add_argument(
        "--swap", action="store_true", help="unload the model first, and measure how it comes back"
    )
    add_url(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prompts differ, so that nothing is known of them; what is measured includes HTTP."""
    from statistics import median

    from gateway.cli.server import Server

    if args.runs < 1 or args.prompt < 1 or args.tokens < 2:
        raise CommandError("a run, a word of prompt and two tokens are the least to measure")
    with Server(args.url) as server:
        model = server.model(args.model)
        if "completion" not in model.get("tasks", ()):
            raise CommandError(f"{model['id']} generates no text: there is nothing to measure")
        runs = [asdict(each) for each in _measured(server, model, args)]
    if args.json:
        print_json(runs)
        return
    show(runs, COLUMNS, as_json=False, if_empty="")
    warm = [each for each in runs if each["name"].isdigit()]
    print(
        f"\nMedian: first token {seconds(median(r['ttft_seconds'] for r in warm))}, "
        f"prefill {median(r['prefill'] for r in warm):.0f} tokens/s, "
        f"decode {median(r['decode'] for r in warm):.1f} tokens/s."
    )


def _measured(server: "Server", model: Json, args: argparse.Namespace) -> Iterator[Run]:
    if args.swap:
        server.post("/v1/models/unload", {"model": model["id"]})
        yield measure(server, model["id"], "swap", args.prompt, args.tokens)
    elif model["state"] != "loaded":
        yield measure(server, model["id"], "load", args.prompt, args.tokens)
    for number in range(1, args.runs + 1):
        yield measure(server, model["id"], str(number), args.prompt, args.tokens)


def measure(server: "Server", model: str, name: str, num_words: int, num_tokens: int) -> Run:
    import random

    body = {
        "model": model,
        "prompt": " ".join(random.choices(_WORDS, k=num_words)),  # noqa: S311 (no secret)
        "max_tokens": num_tokens,
        "temperature": 0,
        "ignore_eos": True,
        "stream_options": {"include_usage": True},
    }
    started = time.perf_counter()
    times: list[float] = []
    usage: Json = {}
    for chunk in server.stream("/v1/completions", body, lambda _: None):
        times += [time.perf_counter()] * bool(chunk["choices"])
        usage = chunk.get("usage") or usage
    if not times or not usage:
        raise CommandError(f"{model} answered without a single token")
    first, last = times[0] - started, times[-1] - times[0]
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    decode = (completion - 1) / last if last else 0.0
    return Run(name, prompt, completion, first, prompt / first, decode)
