import json
import shlex
from argparse import Namespace
from pathlib import Path

import pytest

from gateway.__main__ import parser
from gateway.catalog.models import KnownModel
from gateway.cli.errors import CommandError
from gateway.cli.memory import default_budget
from gateway.cli.serve import curl_line, read_settings
from gateway.cli.url import url_of
from gateway.config import SettingsError
from tests.gateway.fakes import make_card


def arguments(*words: str) -> Namespace:
    return parser().parse_args(["serve", *words])


def known(model_id: str, *tasks: str, template: str | None = None) -> KnownModel:
    card = make_card(f"/models/{model_id}.gguf", tasks=tasks)
    return KnownModel(model_id, card, created=0, chat_template=template)


def body_of(curl: str) -> dict[str, object]:
    return json.loads(shlex.split(curl)[-1])


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to be in, so that no configuration of the checkout is read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    return tmp_path


def test_command_line_lies_over_the_file(here):
    """An option wins over the file, the file over the default."""
    (here / "my.toml").write_text('port = 9000\nmemory = "1GiB"\n')

    settings = read_settings(arguments("--config", "my.toml", "--port", "9001"))

    assert (settings.port, settings.memory, settings.host) == (9001, 2**30, "127.0.0.1")


def test_memory_has_a_default():
    """Without a word on memory a share of this machine's is used."""
    assert read_settings(arguments()).memory == default_budget()


def test_stores_may_stand_in_for_a_models_folder(here):
    """Who has models of another program need not make a folder first."""
    (here / "models").rmdir()
    (here / "roundhouse.toml").write_text('[discovery]\nfolders = { ollama = "/mine" }\n')

    discovery = read_settings(arguments("--stores", "ollama, lmstudio")).discovery

    assert discovery.stores == ["ollama", "lmstudio"]
    assert discovery.folders == {"ollama": Path("/mine")}


def test_an_unknown_store_is_a_bad_call(here, capsys):
    """The names that there are, are said."""
    with pytest.raises(SystemExit):
        arguments("--stores", "olama")

    assert "ollama" in capsys.readouterr().err


def test_missing_models_folder_says_what_to_do(here):
    """No folder, no server: the error names the ways out."""
    (here / "models").rmdir()

    with pytest.raises(CommandError, match="roundhouse demo models"):
        read_settings(arguments())


def test_bad_size_is_refused():
    """A size that cannot be read is a settings error that shows it."""
    with pytest.raises(SettingsError, match="much"):
        read_settings(arguments("--memory", "much"))


def test_curl_line_chats_where_a_model_can():
    """The line to try is a chat if any model chats, whatever comes first."""
    line = curl_line("http://h:1", [known("base", "completion"), known("talker", "chat")])

    assert "http://h:1/v1/chat/completions" in line
    assert body_of(line)["model"] == "talker"


def test_curl_line_completes_otherwise():
    """With models that only complete, the line completes."""
    line = curl_line("http://h:1", [known("it's base", "completion")])

    assert "http://h:1/v1/completions" in line
    assert body_of(line)["model"] == "it's base"


def test_operators_template_makes_a_model_chat():
    """A model with a template from the configuration is asked as a chat."""
    line = curl_line("http://h:1", [known("base", "completion", template="{{ messages }}")])

    assert "/v1/chat/completions" in line


def test_curl_line_without_models_still_works():
    """With nothing to ask, the line lists."""
    assert curl_line("http://h:1", []).split() == ["curl", "http://h:1/v1/models"]


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("::1", "http://[::1]:80"),
    ],
)
def test_url_can_be_opened(host, url):
    """The URL shown leads to the server from this machine, also when it listens everywhere."""
    assert url_of(host, 80) == url
