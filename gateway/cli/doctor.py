"""`roundhouse doctor`: what this machine offers, what is lost or wrong, and how to mend it."""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from gateway.cli.errors import CommandError
from gateway.cli.folder import add_folder, read_folder
from gateway.cli.tables import add_json, print_json

if TYPE_CHECKING:
    from gateway.cli.findings import Finding
    from gateway.config import Settings

_MEND = {
    "native kernels": "on a CPU that has the instructions: install a C compiler and OpenMP (gcc), "
    "then install Roundhouse again; unset ROUNDHOUSE_NATIVE and ROUNDHOUSE_ISA",
}
"""How to mend what the engine finds."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser(
        "doctor",
        help="examine this machine: what it offers, what is wrong, how to mend it",
        description="Examines this machine. Exits with 1 if something keeps models from being "
        "served; what is only lost is told.",
    )
    add_folder(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Prints every finding; what is lost or wrong, and how to mend it, is said beside it."""
    found = [*_engine(), *_around(read_folder(args))]
    if args.json:
        print_json([asdict(each) for each in found])
    else:
        _print(found)
    if wrong := [each.name for each in found if each.wrong]:
        raise CommandError(f"to be mended before models are served: {', '.join(wrong)}")


def _print(found: "list[Finding]") -> None:
    width = max(len(each.name) for each in found)
    for each in found:
        print(f"{each.name:{width}}  {each.value}")
        for word in ("lost", "wrong", "mend"):
            if text := getattr(each, word):
                print(f"{'':{width}}  {word}: {text}")


def _engine() -> "list[Finding]":
    """What the engine finds. It imports torch, so it is asked in a process of its own."""
    from gateway.cli.findings import Finding

    command = [sys.executable, "-m", "engine.doctor"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (ours)
    if done.returncode:
        raise CommandError(f"the engine cannot be examined: {done.stderr.strip()[-500:]}")
    found = [Finding(**each) for each in json.loads(done.stdout)]
    return [_with_mend(each) for each in found]


def _with_mend(finding: "Finding") -> "Finding":
    return replace(finding, mend=_MEND.get(finding.name, "") if finding.lost else "")


def _around(settings: "Settings") -> "list[Finding]":
    from gateway.cli import findings
    from gateway.cli.memory import default_budget
    from gateway.gpus import gpus_here, torch_has_gpus

    answer = _readiness(settings)
    budget = settings.total_memory or default_budget()
    # Behind TLS a server of ours may not be known by a certificate that we trust.
    is_taken = answer is None and settings.tls is None and _is_taken(settings)
    return [
        findings.gpus(gpus_here(os.environ), torch_has_them=torch_has_gpus()),
        findings.memory(budget, findings.available_bytes() if answer is None else None),
        findings.cores(settings.threads, findings.cpu_limit()),
        findings.models_folder(settings),
        *findings.disks(settings),
        findings.port(settings, answer, is_taken=is_taken),
        *findings.failures(answer),
        findings.clock(time.time()),
    ]


def _readiness(settings: "Settings") -> Mapping[str, Any] | None:
    """What a server of ours says on the port; None if nobody does, or somebody else."""
    from gateway.cli.server import Server
    from gateway.cli.url import url_of

    try:
        scheme = "https" if settings.tls else "http"
        with Server(url_of(settings.host, settings.port, scheme)) as server:
            answer = json.loads(server.text("/readyz"))
    except (CommandError, ValueError):
        return None
    return answer if isinstance(answer, dict) and "failures" in answer else None


def _is_taken(settings: "Settings") -> bool:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError:
            return True
    return False
