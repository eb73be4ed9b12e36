import argparse
from pathlib import Path

import pytest

from gateway.cli.url import DEFAULT_URL, add_url


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROUNDHOUSE_URL", raising=False)
    return tmp_path


def asked(*words: str) -> str:
    parser = argparse.ArgumentParser()
    add_url(parser)
    return parser.parse_args(words).url


def test_without_a_word_it_is_where_a_server_listens_by_default():
    assert asked() == DEFAULT_URL


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("port = 8097", "http://127.0.0.1:8097"),
        ('host = "0.0.0.0"', "http://127.0.0.1:8080"),
        ('[tls]\ncertificate = "c.pem"\nkey = "k.pem"', "https://127.0.0.1:8080"),
        ("prot = 1", DEFAULT_URL),
    ],
)
def test_the_file_in_this_folder_says_where(here, text, url):
    """As the server that is started here would; a mistake in it is the server's to tell."""
    (here / "roundhouse.toml").write_text(text)

    assert asked() == url


def test_the_environment_and_then_the_command_line_say_otherwise(here, monkeypatch):
    (here / "roundhouse.toml").write_text("port = 8097")
    monkeypatch.setenv("ROUNDHOUSE_URL", "https://far.test")

    assert asked() == "https://far.test"
    assert asked("--url", "http://near.test") == "http://near.test"
