"""`roundhouse show MODEL`: what it is, and what it needs."""

import argparse

from gateway.cli.names import add_model
from gateway.cli.tables import Columns, Json, add_json, console, decimal, num_bytes, print_json
from gateway.cli.url import add_url

NEED_COLUMNS: Columns = {
    "CONTEXT": lambda need: str(need["tokens"]),
    "MEMORY": lambda need: num_bytes(need["bytes"]),
    "": lambda need: need["note"],
}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("show", help="tell what a model is and what it needs")
    add_model(parser)
    add_url(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from gateway.cli.server import Server

    with Server(args.url) as server:
        details = server.post("/v1/models/show", {"model": args.model})
    if args.json:
        print_json(details)
        return
    _print(facts(details))
    served = details["model"]["context_length"]
    needs = [n | {"note": "as served here" * (n["tokens"] == served)} for n in details["needs"]]
    from gateway.cli.tables import table

    print("\nMemory, by the tokens that its cache has room for:")
    console().print(table(needs, NEED_COLUMNS))


def facts(details: Json) -> dict[str, str]:
    """Names and values, in the order in which they are worth reading."""
    model = details["model"]
    licences = ", ".join(details["licences"]) or "none beside its files"
    return {
        "model": model["id"],
        "shares": model["root"] if model["root"] != model["id"] else "",
        "aliases": ", ".join(model["aliases"]),
        "state": model["state"] + (f" on {model['device']}" if model["device"] else ""),
        "family": model["family"],
        "weights": f"{model['format']}, {model['quantization']}, {num_bytes(model['bytes'])}",
        "parameters": decimal(model["parameters"]).strip(),
        "context": f"{model['context_length']} tokens here, {details['max_context']} at most",
        "does": ", ".join(model["capabilities"]),
        "template": details["chat_template"],
        "in memory": _in_memory(details),
        "source": model["source"],
        "files": details["path"],
        "licence": licences,
    }


def _in_memory(details: Json) -> str:
    weights = f"{num_bytes(details['weights_bytes'])} of weights, {details['form']}"
    computed = "" if details["dtype"] == "auto" else f"computed in {details['dtype']}"
    kept = "" if details["kv_dtype"] == "auto" else f" in {details['kv_dtype']}"
    per_token = f"{num_bytes(details['kv_bytes_per_token'])} a token{kept}"
    state = details["state_bytes_per_sequence"]
    per_sequence = f"{num_bytes(state)} a sequence" if state else ""
    return ", ".join(filter(None, (weights, computed, per_token, per_sequence)))


def _print(named: dict[str, str]) -> None:
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in named.items():
        if value:
            made.add_row(Text(name, "bold"), Text(value))
    console().print(made)
