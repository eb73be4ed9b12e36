"""`roundhouse key`: makes, lists and revokes keys. A server that runs knows of it within a second."""

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.errors import CommandError
from gateway.cli.tables import Columns, Json, add_json, show

if TYPE_CHECKING:
    from gateway.keys.table import Made, Table

_LIMITS = {
    "requests_per_minute": (int, "N", "requests in a minute"),
    "tokens_per_minute": (int, "N", "tokens in a minute, of prompts and answers"),
    "concurrency": (int, "N", "requests at once"),
    "device_seconds_per_day": (float, "SECONDS", "computing in a day of UTC's"),
    "device_seconds_per_month": (float, "SECONDS", "computing in a month of UTC's"),
}
_AGE = re.compile(r"(\d+)([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("key", help="make, list and revoke keys of this machine's server")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_create(actions.add_parser("create", help="make a key, and show it this once"))
    for name, run, text in (
        ("list", run_list, "list the keys, and what they used"),
        ("revoke", run_revoke, "make a key worthless at once; what it runs now may finish"),
    ):
        action = actions.add_parser(name, help=text)
        if run is run_revoke:
            action.add_argument("name")
        _add_common(action, run)


def _add_create(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="whose or what for; logs call it so")
    parser.add_argument(
        "--scopes", default="infer", help="of infer, manage and admin, with commas (default: infer)"
    )
    parser.add_argument(
        "--models", default="*", help="names or patterns with *, with commas (default: all)"
    )
    parser.add_argument(
        "--no-swap", action="store_true", help="use models only while they are in memory"
    )
    parser.add_argument(
        "--shares-cache",
        action="store_true",
        help="share what is cached of its prompts; others can then tell what was asked before",
    )
    parser.add_argument("--expires", metavar="WHEN", help="as 30d, 12h or 2027-01-31")
    for name, (kind, metavar, text) in _LIMITS.items():
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=kind, metavar=metavar, help=f"at most so many {text}")
    _add_common(parser, run_create)


def _add_common(parser: argparse.ArgumentParser, run: Any) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: ./roundhouse.toml")
    add_json(parser)
    parser.set_defaults(run=run)


def run_create(args: argparse.Namespace) -> None:
    from msgspec import ValidationError, convert

    from gateway.keys.key import Key, digest_of, new_secret

    secret, now = new_secret(), time.time()
    values = _asked(args, now) | {"name": args.name, "digest": digest_of(secret)}
    try:
        key = convert(values, Key)
    except ValidationError as error:
        raise CommandError(f"{error}; see 'roundhouse key create --help'") from None
    with _table(args) as table:
        table.add(key, now)
    if args.json:
        print(json.dumps({"name": key.name, "id": key.id, "key": secret}))
        return
    print(secret)
    print("Keep it: it is not kept here, and is not shown again.", file=sys.stderr)


def run_list(args: argparse.Namespace) -> None:
    now = time.time()
    with _table(args, must_be=False) as table:
        used = table.use(now) if table else {}
        made = table.made() if table else []
    rows = [_row(each, dict(used.get(each.key.id, {})), now) for each in made]
    nothing = "There are no keys; 'roundhouse key create --name NAME' makes one."
    show(rows, COLUMNS, args.json, nothing, expendable=("USED TODAY", "EXPIRES"))


def run_revoke(args: argparse.Namespace) -> None:
    with _table(args, must_be=False) as table:
        if table is None or not table.remove(args.name):
            raise CommandError(f"there is no key {args.name!r}: see 'roundhouse key list'")
    print(json.dumps({"revoked": args.name}) if args.json else f"{args.name} is revoked.")


@contextmanager
def _table(args: argparse.Namespace, *, must_be: bool = True) -> "Iterator[Table | Any]":
    """The database; None if it is not there, unless it `must_be`: then it is made."""
    from gateway.config import SettingsError, load_settings
    from gateway.keys.errors import KeysError
    from gateway.keys.keyring import database_path
    from gateway.keys.table import Table

    try:
        path = database_path(load_settings(args.config).keys)
        if path is None:
            raise CommandError('[keys] path is "off": this server keeps its keys elsewhere')
        table = Table(path) if must_be or path.is_file() else None
        try:
            yield table
        finally:
            if table:
                table.close()
    except (KeysError, SettingsError) as error:
        raise CommandError(str(error)) from None


def _asked(args: argparse.Namespace, now: float) -> Json:
    limits = {name: getattr(args, name) for name in _LIMITS}
    return {name: value for name, value in limits.items() if value is not None} | {
        "scopes": _listed(args.scopes),
        "models": _listed(args.models),
        "may_swap": not args.no_swap,
        "shares_cache": args.shares_cache,
        "expires": expiry(args.expires, now) if args.expires else None,
    }


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def expiry(text: str, now: float) -> datetime:
    """When a key ends that is to be good for `30d`, or until a day or time of UTC's."""
    try:
        if found := _AGE.fullmatch(text):
            seconds = int(found[1]) * _SECONDS[found[2]]
            return datetime.fromtimestamp(round(now), UTC) + timedelta(seconds=seconds)
        read = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise CommandError(f"--expires {text}: say 30d, 12h, or a day as 2027-01-31") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _row(made: "Made", days: dict[str, float], now: float) -> Json:
    from msgspec import to_builtins

    from gateway.keys.use import day_of

    rights: Json = to_builtins(made.key)
    del rights["digest"]
    return rights | {
        "id": made.key.id,
        "scopes": sorted(made.key.scopes),
        "created": datetime.fromtimestamp(round(made.created_at), UTC).isoformat(),
        "is_expired": made.key.is_expired(now),
        "device_seconds_today": round(days.get(day_of(now), 0.0), 3),
        "device_seconds_this_month": round(sum(days.values()), 3),
    }


COLUMNS: Columns = {
    "NAME": lambda row: str(row["name"]),
    "SCOPES": lambda row: ", ".join(row["scopes"]),
    "MODELS": lambda row: ", ".join(row["models"]),
    "LIMITS": lambda row: limits_in_words(row),  # noqa: PLW0108 (it is defined below)
    "USED TODAY": lambda row: f"{row['device_seconds_today']:.1f} s",
    "EXPIRES": lambda row: "expired" if row["is_expired"] else str(row["expires"] or ""),
}


def limits_in_words(row: Json) -> str:
    units = {
        "requests_per_minute": "requests/min",
        "tokens_per_minute": "tokens/min",
        "concurrency": "at once",
        "device_seconds_per_day": "s/day",
        "device_seconds_per_month": "s/month",
    }
    words = [f"{row[name]:g} {unit}" for name, unit in units.items() if row[name] is not None]
    return ", ".join(words if row["may_swap"] else [*words, "no swaps"]) or "none"
