"""A rendered container run as a process: its user, arguments, environment, volumes and nothing else.

The machine's own files are its root, read-only under an overlay in a mount namespace; volumes are
folders. A `Kubelet` asks its probes and takes its leave as one on a node would.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from helm import ROOT, Object, only

_ENTER = """\
set -eu
mount -t tmpfs tmpfs {scratch}
mkdir {scratch}/up {scratch}/work {scratch}/root
mount -t overlay overlay -o lowerdir=/,upperdir={scratch}/up,workdir={scratch}/work {scratch}/root
cd {scratch}/root
{openings}
{mounts}
mount -t proc proc proc
mount --rbind /dev dev
mount -o remount,ro .
exec chroot . setpriv --reuid={user} --regid={group} --groups={groups} --no-new-privs \\
  --bounding-set=-all --inh-caps=-all env -i -C {workdir} {command}
"""


@dataclass(frozen=True)
class Pod:
    """spec: of the pod. volumes: its volumes' names -> folders. port: where it listens instead."""

    objects: list[Object]
    volumes: Mapping[str, Path]
    scratch: Path
    log: Path

    @property
    def spec(self) -> Object:
        return only(self.objects, "Deployment")["spec"]["template"]["spec"]

    @property
    def server(self) -> Object:
        return self.spec["containers"][0]

    @property
    def port(self) -> int:
        """As `extraEnv` has it: 8080 may be taken on a machine that is no pod."""
        return int(self._environment["ROUNDHOUSE_PORT"])

    @property
    def _environment(self) -> dict[str, str]:
        return {one["name"]: one["value"] for one in self.server["env"]}

    def start(self) -> subprocess.Popen[bytes]:
        """Starts the server's process; what it says goes to `log`."""
        rights, user = self.spec["securityContext"], self.spec["securityContext"]["runAsUser"]
        self._fill(rights["fsGroup"])
        script = _ENTER.format(
            scratch=self.scratch,
            openings="\n".join(_openings()),
            mounts="\n".join(self._mounts()),
            user=user,
            group=rights["runAsGroup"],
            groups=rights["fsGroup"],
            workdir=self._environment["HOME"],
            command=shlex.join(self._command()),
        )
        self.scratch.mkdir()
        with self.log.open("wb") as sink:
            command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script]
            return subprocess.Popen(command, stdout=sink, stderr=sink)

    def _command(self) -> list[str]:
        """The image's own command is ours, run from the sources."""
        variables = self._environment | {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        given = [f"{name}={value}" for name, value in variables.items()]
        return [*given, sys.executable, "-B", "-m", "gateway", *self.server["args"]]

    def _fill(self, group: int) -> None:
        """Volumes as a kubelet hands them over: configuration as it is, all else the group's."""
        config = next(one for one in self.objects if "roundhouse.json" in (one.get("data") or {}))
        (self.volumes["config"] / "roundhouse.json").write_text(config["data"]["roundhouse.json"])
        for name in ("models", "cache", "tmp"):
            os.chown(self.volumes[name], 0, group)
            self.volumes[name].chmod(0o2775)

    def _mounts(self) -> Iterator[str]:
        assert self.server["securityContext"]["readOnlyRootFilesystem"]
        for mount in self.server["volumeMounts"]:
            place = f".{mount['mountPath']}"
            yield f"mkdir -p {place} && mount --bind {self.volumes[mount['name']]} {place}"
            if mount.get("readOnly"):
                yield f"mount -o remount,ro,bind {place}"


def _openings() -> Iterator[str]:
    """Whoever the user is, they may reach this Python and our sources."""
    places = {Path(place) for place in (sys.prefix, sys.base_prefix, ROOT)}
    for folder in sorted({parent for place in places for parent in (place, *place.parents)}):
        yield f"chmod a+rx .{folder}"


@dataclass
class Kubelet:
    """Asks the probes of a pod in their periods, and remembers what came of it.

    is_started: the startup probe has succeeded. is_ready: what Services see. failures: probes that
    failed so often that the container would be restarted. rounds: how often liveness was asked.
    turns: what readiness became, in order.
    """

    pod: Pod
    process: subprocess.Popen[bytes]
    is_started: threading.Event = field(default_factory=threading.Event)
    failures: list[str] = field(default_factory=list)
    rounds: int = 0
    turns: list[bool] = field(default_factory=list)
    _ends: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def is_ready(self) -> bool:
        return bool(self.turns) and self.turns[-1]

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=target)
            for target in (self._start, self._watch_life, self._watch_readiness)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()

    def terminate(self) -> float:
        """preStop, SIGTERM, grace: the seconds until it had ended. AssertionError if it had not."""
        began = time.monotonic()
        grace = self.pod.spec["terminationGracePeriodSeconds"]
        self._ends.wait(self.pod.server["lifecycle"]["preStop"]["sleep"]["seconds"])
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(grace - (time.monotonic() - began))
        except subprocess.TimeoutExpired:
            raise AssertionError("it would have been killed") from None
        return time.monotonic() - began

    def _start(self) -> None:
        probe = self.pod.server["startupProbe"]
        for _ in range(probe["failureThreshold"]):
            if self._ask(probe):
                return self.is_started.set()
            if self._ends.wait(probe["periodSeconds"]):
                return None
        return self.failures.append("startup")

    def _watch_life(self) -> None:
        probe, failed = self.pod.server["livenessProbe"], 0
        while self._goes_on(probe):
            failed = 0 if self._ask(probe) else failed + 1
            self.rounds += 1
            if failed == probe["failureThreshold"] and self.process.poll() is None:
                self.failures.append("liveness")

    def _watch_readiness(self) -> None:
        probe, failed = self.pod.server["readinessProbe"], 0
        while self._goes_on(probe):
            is_ready = self._ask(probe)
            failed = 0 if is_ready else failed + 1
            if (is_ready or failed >= probe["failureThreshold"]) and is_ready is not self.is_ready:
                self.turns.append(is_ready)

    def _goes_on(self, probe: Mapping[str, Any]) -> bool:
        """Waits for the startup probe, then for the next period."""
        while not self.is_started.wait(0.1):
            if self._ends.is_set():
                return False
        return not self._ends.wait(probe["periodSeconds"])

    def _ask(self, probe: Mapping[str, Any]) -> bool:
        asked = probe["httpGet"]
        headers = {one["name"]: one["value"] for one in asked.get("httpHeaders", [])}
        url = f"http://127.0.0.1:{self.pod.port}{asked['path']}"
        try:
            reply = httpx.get(url, headers=headers, timeout=probe["timeoutSeconds"])
        except httpx.TransportError:
            return False
        return 200 <= reply.status_code < 400


def events(log: Path) -> list[str]:
    """The names of what the server logged, in order."""
    lines = [line for line in log.read_text().splitlines() if line.startswith("{")]
    return [json.loads(line)["event"] for line in lines]
