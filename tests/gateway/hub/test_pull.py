import errno
import hashlib

import pytest

from gateway.hub.access import Access
from gateway.hub.errors import HubError
from gateway.hub.reports import Planned, Waiting
from tests.gateway.hub.conftest import FOLDER, GGUFS


def test_a_folder_lands_whole(hub, pull, models):
    """Only the files that make the model, byte for byte, under the repository's name."""
    done = pull("org/folder")

    assert done.model == "org/folder"
    assert pull.files() == sorted(f"org/folder/{name}" for name in FOLDER)
    assert all((models / "org/folder" / name).read_bytes() == FOLDER[name] for name in FOLDER)
    assert not any(path.endswith((".py", ".bin")) for path in hub.downloads())
    assert pull.partial() == []


def test_one_quantisation_lands(pull):
    """The catalog's id for it is what is said."""
    done = pull("org/quants:q8_0")

    assert done.model == "org/quants/llama-q-Q8_0"
    assert pull.files() == ["org/quants/llama-q-Q8_0.gguf"]


def test_what_is_here_is_not_fetched_again(hub, pull):
    """The hub is asked once for its list, and that is all."""
    pull("org/folder")
    hub.asked.clear()

    done = pull("org/folder")

    assert done.fetched_bytes == 0
    assert [path for _, path, _ in hub.asked] == ["/api/models/org/folder/revision/main"]


def test_what_is_here_is_not_written_to(pull, models, monkeypatch):
    """The folder may be mounted read-only by then."""
    pull("org/folder")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("os.open", refuse)
    assert pull("org/folder").fetched_bytes == 0


def test_what_was_put_there_by_hand_is_recognised(hub, pull, models):
    """By its content."""
    (models / "org/quants").mkdir(parents=True)
    (models / "org/quants/llama-q-Q8_0.gguf").write_bytes(GGUFS["llama-q-Q8_0.gguf"])

    assert pull("org/quants:Q8_0").fetched_bytes == 0


def test_a_new_revision_brings_what_changed(hub, pull, models):
    """And takes away what is no longer part of it."""
    hub.add("org/folder", FOLDER | {"added_tokens.json": b"{}"})
    pull("org/folder")
    changed = FOLDER | {"generation_config.json": b'{"top_k": 3}'}
    hub.add("org/folder", changed)

    done = pull("org/folder")

    assert done.fetched_bytes == len(b'{"top_k": 3}')
    assert pull.files() == sorted(f"org/folder/{name}" for name in FOLDER)
    assert (models / "org/folder/generation_config.json").read_bytes() == b'{"top_k": 3}'


def test_without_the_hub_what_is_here_will_do(hub, pull):
    """A restart must not need the network; nothing is said of what was never checked."""
    pull("org/folder")
    pull.access = Access("http://127.0.0.1:9")
    assert not pull("org/folder").is_checked
    pull.access = Access(hub.url, is_offline=True)
    assert not pull("org/folder").is_checked

    with pytest.raises(HubError) as refused:
        pull("org/quants")
    assert refused.value.code == "offline"
    assert pull.files() == sorted(f"org/folder/{name}" for name in FOLDER)


def test_a_private_repository_needs_its_token(hub, pull, monkeypatch):
    """Which never goes to the server that large files come from (the hub server looks)."""
    hub.add("org/private", FOLDER, access="private")
    with pytest.raises(HubError, match="HF_TOKEN") as refused:
        pull("org/private")
    assert refused.value.code == "not_found"
    monkeypatch.setenv("HF_TOKEN", hub.token)

    assert pull("org/private").fetched_bytes


def test_a_gated_repository_says_where_its_terms_are(hub, pull):
    """With the page to go to."""
    hub.add("org/gated", FOLDER, access="gated")
    with pytest.raises(HubError, match=f"accept its terms at {hub.url}/org/gated") as refused:
        pull("org/gated")

    assert refused.value.code == "denied"
    assert pull.files() == []


def test_a_typo_leaves_nothing_behind(pull, models):
    """Not even a folder."""
    for name in ("org/nobody", "org/quants:Q9"):
        with pytest.raises(HubError):
            pull(name)

    assert [*models.iterdir()] == []


def test_room_is_looked_for_before_the_first_byte(hub, pull, monkeypatch):
    """A download that cannot end is not begun."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(HubError, match="has room for 1 kB") as refused:
        pull("org/folder")

    assert refused.value.code == "disk_full"
    assert hub.downloads() == []


def test_a_plan_says_what_has_to_come(pull):
    """Before any byte of it."""
    pull("org/quants:Q8_0")

    first = next(report for report in pull.reports if isinstance(report, Planned))
    size = len(GGUFS["llama-q-Q8_0.gguf"])
    assert (first.total_bytes, first.missing_bytes) == (size, size)
    assert not any(isinstance(report, Waiting) for report in pull.reports)


def test_contents_are_named_by_their_digest(pull, models):
    """The record beside the model says what came, for the next pull and for people."""
    pull("org/quants:Q8_0")

    record = (models / "org/quants/.roundhouse/q8_0.json").read_text()
    assert hashlib.sha256(GGUFS["llama-q-Q8_0.gguf"]).hexdigest() in record
