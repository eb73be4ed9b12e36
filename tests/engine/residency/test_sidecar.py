import os
import threading
from pathlib import Path

import pytest

from engine.residency import sidecar
from engine.residency.sidecar import Question, Sidecars
from tests.engine.residency.images import kept


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "kept"


def model_in(tmp_path: Path, name: str = "model.gguf") -> Path:
    path = tmp_path / name
    path.write_bytes(b"weights")
    return path


def test_what_was_kept_is_found_by_the_next_process(tmp_path, folder):
    """By path and by how it was asked for."""
    path = model_in(tmp_path)
    Sidecars(folder).keep(Question.of(path, "card", "bfloat16"), b"answer")

    assert Sidecars(folder).find(Question.of(path, "card", "bfloat16")) == b"answer"
    assert Sidecars(folder).find(Question.of(path, "card", "float32")) is None
    assert Sidecars(folder).find(Question.of(model_in(tmp_path, "b"), "card", "bfloat16")) is None


def test_files_are_private(tmp_path, folder):
    """Templates may be anyone's secret."""
    Sidecars(folder).keep(Question.of(model_in(tmp_path)), b"answer")
    [name] = kept(folder)

    assert (folder / name).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("keep_time", [False, True])
def test_a_changed_file_is_asked_about_anew(tmp_path, folder, keep_time):
    """Also where its size is the same and its time was put back."""
    path = model_in(tmp_path)
    Sidecars(folder).keep(Question.of(path), b"answer")
    before = path.stat()
    path.write_bytes(b"Weights")
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert Sidecars(folder).find(Question.of(path)) is None


@pytest.mark.parametrize("name", ["config.json", "1_Pooling/config.json", "new.json"])
def test_anything_that_changes_in_a_folder_counts(tmp_path, folder, name):
    """Files that say what a model is, in it or in a module's folder, whether they were there."""
    model = tmp_path / "model"
    (model / "1_Pooling").mkdir(parents=True)
    for each in ("config.json", "1_Pooling/config.json"):
        (model / each).write_text("{}")
    Sidecars(folder).keep(Question.of(model), b"answer")
    assert Sidecars(folder).find(Question.of(model)) == b"answer"
    (model / name).write_text("[]")

    assert Sidecars(folder).find(Question.of(model)) is None


def test_all_parts_of_a_model_count(tmp_path, folder):
    """The first one's name says how many there are."""
    paths = [model_in(tmp_path, f"m-{number:05}-of-00002.gguf") for number in (1, 2)]
    Sidecars(folder).keep(Question.of(paths[0]), b"answer")
    assert Sidecars(folder).find(Question.of(paths[0])) == b"answer"
    paths[1].write_bytes(b"other")

    assert Sidecars(folder).find(Question.of(paths[0])) is None


def test_what_changed_while_it_was_read_is_not_kept(tmp_path, folder):
    """Nobody knows which state the answer is of."""
    path = model_in(tmp_path)
    question = Question.of(path)
    path.write_bytes(b"other")
    Sidecars(folder).keep(question, b"answer")

    assert kept(tmp_path) == ["model.gguf"]


def test_other_code_asks_anew(tmp_path, folder, monkeypatch):
    """Another version may answer otherwise."""
    path = model_in(tmp_path)
    Sidecars(folder).keep(Question.of(path), b"answer")
    monkeypatch.setattr(sidecar, "code", lambda: "other")

    assert Sidecars(folder).find(Question.of(path)) is None


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "grow"])
def test_a_damaged_file_is_none(tmp_path, folder, damage):
    """It is written again."""
    path = model_in(tmp_path)
    Sidecars(folder).keep(Question.of(path), b"answer")
    file = folder / kept(folder)[0]
    content = file.read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    file.write_bytes(
        {"flip": flipped, "cut": content[:-3], "empty": b"", "grow": content + b"x"}[damage]
    )

    assert Sidecars(folder).find(Question.of(path)) is None
    Sidecars(folder).keep(Question.of(path), b"answer")
    assert Sidecars(folder).find(Question.of(path)) == b"answer"


def test_those_used_longest_ago_go(tmp_path, folder):
    """Finding is using."""
    known = Sidecars(folder, max_files=2)
    first, second, third = (Question.of(model_in(tmp_path, name)) for name in "abc")
    known.keep(first, b"1")
    known.keep(second, b"2")
    for file in folder.iterdir():
        os.utime(file, ns=(0, 0))
    assert known.find(first) == b"1"
    known.keep(third, b"3")

    assert [known.find(each) for each in (first, second, third)] == [b"1", None, b"3"]


def test_no_folder_and_one_that_cannot_be_made_are_done_without(tmp_path):
    """Everything is found out anew, and nothing fails."""
    path = model_in(tmp_path)
    for known in (Sidecars(None), Sidecars(path / "kept")):
        known.keep(Question.of(path), b"answer")
        assert known.find(Question.of(path)) is None


def test_a_missing_model_is_not_known(tmp_path, folder):
    """Whoever asks hears from its reader what is wrong."""
    missing = Question.of(tmp_path / "missing")
    Sidecars(folder).keep(missing, b"answer")

    assert Sidecars(folder).find(missing) is None


def test_writers_do_not_spoil_each_others_files(tmp_path, folder):
    """At worst there is none."""
    path = model_in(tmp_path)
    question = Question.of(path)

    def write() -> None:
        for _ in range(50):
            Sidecars(folder).keep(question, b"answer" * 1000)
            assert Sidecars(folder).find(question) in {None, b"answer" * 1000}

    threads = [threading.Thread(target=write) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Sidecars(folder).keep(question, b"answer" * 1000)
    assert Sidecars(folder).find(question) == b"answer" * 1000
