"""Every fault of a hub ends in a clear error or a verified file."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.hub.errors import HubError
from gateway.hub.reports import Retrying
from hub_server import Corrupt, Cut, Longer, Loop, NoRange, Status, WrongRange
from tests.gateway.hub.conftest import FOLDER, GGUFS, Pulling

FILE = "llama-q-Q8_0.gguf"
QUANT = "org/quants:Q8_0"
SIZE = len(GGUFS[FILE])


def assert_whole(models: Path) -> None:
    assert (models / "org/quants" / FILE).read_bytes() == GGUFS[FILE]


def refusal(pull: Pulling, name: str = QUANT) -> HubError:
    with pytest.raises(HubError) as refused:
        pull(name)
    assert pull.files() == []
    return refused.value


def test_a_cut_goes_on_where_it_was(hub, pull, models):
    """Not a byte comes twice."""
    hub.faults += [Cut(FILE, after=100_000), Cut(FILE, after=50_000)]
    pull(QUANT)

    assert_whole(models)
    assert hub.sent_bytes - SIZE < 3000  # the rest is the list and the redirects
    ranges = [headers.get("range") for _, path, headers in hub.asked if path.startswith("/cdn/")]
    assert ranges == [None, "bytes=100000-", "bytes=150000-"]


def test_corrupt_bytes_are_fetched_anew_once(hub, pull, models):
    """What arrives wrong twice is an error, and lands nowhere."""
    hub.faults.append(Corrupt(FILE))
    pull(QUANT)
    assert_whole(models)

    hub.faults.append(Corrupt("tokenizer.json", times=9))
    with pytest.raises(HubError, match=r"tokenizer\.json of org/folder") as refused:
        pull("org/folder")
    assert refused.value.code == "corrupt"
    assert pull.files() == [f"org/quants/{FILE}"]


@pytest.mark.parametrize("fault", [WrongRange(FILE), NoRange(FILE), Longer(FILE)])
def test_another_range_than_asked_for_is_not_written(hub, pull, models, fault):
    """The file begins anew: what is from elsewhere must not be joined to it."""
    hub.faults += [Cut(FILE, after=100_000)]
    hub.faults += [fault] if isinstance(fault, Longer) else []
    first = hub.fault

    def late(kind, path):
        """The fault strikes the second request, which asks for a range."""
        return first(kind, path) if kind is not type(fault) or _ranges(hub) else None

    hub.fault = late
    hub.faults.append(fault)
    pull(QUANT)

    assert_whole(models)
    assert fault.times == 0


def _ranges(hub) -> list[str]:
    return [headers["range"] for _, _, headers in hub.asked if "range" in headers]


def test_a_server_that_asks_to_wait_is_waited_for(hub, pull, models):
    """As long as it says, and told of."""
    hub.faults.append(Status(FILE, status=429, headers={"retry-after": "7"}))
    hub.faults.append(Status("main", status=429, headers={"retry-after": "3"}))
    pull(QUANT)

    assert_whole(models)
    assert pull.pauses == [3, 7]
    assert sum(isinstance(report, Retrying) for report in pull.reports) == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_failures_of_the_server_pass(hub, pull, models, status):
    """Tried again with growing pauses."""
    hub.faults.append(Status(FILE, status=status, times=3))
    pull(QUANT)

    assert_whole(models)
    assert pull.pauses == [1, 2, 4]


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        (Status("main", status=503, times=99), "unreachable", "answers 503"),
        (Status(FILE, status=429, times=99), "unreachable", "asked too often"),
        (Status("main", status=403, times=99), "denied", "HF_TOKEN"),
        (Status(FILE, status=401, times=99), "denied", "HF_TOKEN"),
        (Status(FILE, status=404, times=99), "not_found", "has no org/quants"),
        (Status("main", status=418, times=99), "unreachable", "418"),
        (Loop(FILE, times=99), "unreachable", "circle of redirects"),
        (Cut(FILE, after=0, times=99), "unreachable", "connection"),
    ],
)
def test_what_does_not_pass_is_an_error(hub, pull, fault, code, text):
    """That says what it was; nothing lands."""
    hub.faults.append(fault)

    error = refusal(pull)

    assert (error.code, text in error.message) == (code, True), error.message


def test_a_server_that_is_no_hub_is_told_apart(hub, pull):
    """A captive portal answers everything with a page."""
    hub.add("org/page", {})
    hub.repositories["org/page"].commit = "../../x"

    assert refusal(pull, "org/page").code == "unreachable"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_up_is_an_error(hub, small_disk, monkeypatch):
    """Nothing lands; with room again, the next pull goes on from what came."""
    pull = Pulling(hub, small_disk)
    assert refusal(pull).code == "disk_full"
    assert hub.downloads() == []  # it was seen before the first byte

    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 2**40}))
    assert refusal(pull).code == "disk_full"  # somebody else took the room meanwhile
    come = sum(path.stat().st_size for path in small_disk.rglob("partial/*"))
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    pull(QUANT)

    assert_whole(small_disk)
    assert come > 100_000
    assert any(headers.get("range") for _, _, headers in hub.asked)


def test_a_folder_that_cannot_be_written_is_an_error(hub, pull, models):
    """A file stands where the folder should be."""
    (models / "org").write_text("in the way")

    with pytest.raises(HubError) as refused:
        pull("org/folder")
    assert refused.value.code == "cannot_write"
    assert hub.downloads() == []
    assert FOLDER
