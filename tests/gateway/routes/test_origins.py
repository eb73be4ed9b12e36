import pytest

from gateway.config import Settings
from gateway.routes.origins import Origins


def refuses(settings: Settings, **headers: str) -> bool:
    raw = {name.encode(): value.encode() for name, value in headers.items()}
    return Origins(settings).refusal(raw) is not None


def test_who_listens_on_a_network_is_called_by_any_name():
    """An address of the network has names that we cannot know."""
    assert not refuses(Settings(host="0.0.0.0"), host="box.lan:8080")


def test_a_list_of_hosts_binds_there_too():
    """Whoever gives names means these names."""
    settings = Settings(host="0.0.0.0", allowed_hosts=["box.lan"])

    assert not refuses(settings, host="Box.LAN:8080")
    assert refuses(settings, host="other.lan")


@pytest.mark.parametrize("origin", ["http://box.lan:8080", "https://localhost", "http://[::1]:1"])
def test_pages_of_this_very_server_and_of_this_machine_may_use_it(origin):
    """The built-in page is one of them."""
    assert not refuses(Settings(host="0.0.0.0"), host="box.lan:8080", origin=origin)


@pytest.mark.parametrize("origin", ["null", "file://", "http://box.lan:81", "https://localhost.x"])
def test_other_origins_are_refused(origin):
    """A sandboxed frame is nobody in particular."""
    assert refuses(Settings(host="0.0.0.0"), host="box.lan:8080", origin=origin)


def test_a_star_lets_every_page_in():
    """The operator's wish."""
    assert not refuses(Settings(cors_origins=["*"]), host="localhost", origin="https://a.example")
