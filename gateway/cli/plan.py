"""`roundhouse plan MODEL`: what a request for it would bring about now."""

import argparse

from gateway.cli.names import add_model
from gateway.cli.tables import Columns, Json, add_json, num_bytes, print_json, seconds, show
from gateway.cli.url import add_url

VICTIM_COLUMNS: Columns = {
    "MAKES ROOM": lambda victim: str(victim["model"]),
    "ON": lambda victim: str(victim["device"]),
    "MEMORY": lambda victim: num_bytes(victim["bytes"]),
    "IDLE": lambda victim: seconds(victim["idle_seconds"]),
    "HOW": lambda victim: _way(victim),  # noqa: PLW0108 (it is defined below)
}
_WAYS = {
    "evict": "leaves at once",
    "drain": "leaves once its requests have ended",
    "pause": "is paused between two tokens",
    "load_first": "leaves after the turn that it is loaded for",
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "plan", help="tell what a request for a model would bring about, without doing it"
    )
    add_model(parser)
    add_url(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from gateway.cli.server import Server

    with Server(args.url) as server:
        plan = server.post("/v1/models/plan", {"model": args.model})
    if args.json:
        print_json(plan)
        return
    for line in lines(plan):
        print(line)
    if plan["victims"]:
        print()
        show(plan["victims"], VICTIM_COLUMNS, as_json=False, if_empty="")


def lines(plan: Json) -> list[str]:
    """What would happen, in sentences."""
    if refusal := plan["refusal"]:
        return [f"A request would be refused ({refusal['status']}): {refusal['error']['message']}"]
    if plan["is_loaded"]:
        return [f"{plan['model']} is loaded on {plan['device']} already: it would answer at once."]
    said = []
    if plan["ahead"]:
        said.append(f"{plan['ahead']} models wait for room already and come first.")
    if plan["device"]:
        said.append(
            f"{plan['model']} would be loaded on {plan['device']} as {plan['form']} weights"
            f"{_computed(plan)}: {num_bytes(plan['bytes'])}, with room for {plan['kv_tokens']} tokens"
            f"{_kept(plan)}."
        )
    if expected := seconds(plan["expected_seconds"]):
        said.append(f"It would be ready in about {expected}.")
    else:
        said.append("How long that takes is not known before its first load.")
    return [*said, *([] if plan["victims"] else ["Nothing has to make room."])]


def _computed(plan: Json) -> str:
    return "" if plan["dtype"] == "auto" else f", computed in {plan['dtype']}"


def _kept(plan: Json) -> str:
    return "" if plan["kv_dtype"] == "auto" else f" in {plan['kv_dtype']}"


def _way(victim: Json) -> str:
    way = _WAYS.get(victim["way"], str(victim["way"]))
    wait = victim["wait_seconds"] or 0
    return f"{way}, in {seconds(wait)} at the earliest" if wait >= 0.1 else way
