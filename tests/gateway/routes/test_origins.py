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


LOCAL = Settings()


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:1", "127.0.0.1:8080", "[::1]", "[::1]:65535", ""],
)
def test_loopback_is_called_by_its_own_names(host):
    """In either case and with any port; a client of HTTP/1.0 may say nothing."""
    assert not refuses(LOCAL, host=host)


@pytest.mark.parametrize(
    "host",
    [
        "localhost.",
        "localhost:",
        "localhost:80:80",
        "localhost:80a",
        "localhost@evil.example",
        "localhost.evil.example",
        "evil.example#localhost",
        "127.0.0.1.evil.example",
        "127.1",
        "2130706433",
        "0.0.0.0",
        "::1",
        "[::1",
        "[::ffff:127.0.0.1]",
        "[::1]evil.example",
        "localhost\x00",
        " localhost",
        "evil.example, localhost",
    ],
)
def test_a_name_that_only_looks_like_loopbacks_is_refused(host):
    """A name that was rebound to our address comes in whatever spelling its page chose."""
    assert refuses(LOCAL, host=host)


@pytest.mark.parametrize(
    ("origin", "is_refused"),
    [
        ("http://localhost:3000", False),
        ("HTTPS://LOCALHOST", False),
        ("http://[::1]:9", False),
        ("null", True),
        ("", True),
        ("localhost", True),
        ("http://", True),
        ("http://localhost/", True),
        ("http://localhost.", True),
        ("http://localhost@evil.example", True),
        ("http://evil.example:80", True),
        ("chrome-extension://localhost", True),
        ("http://localhost http://evil.example", True),
    ],
)
def test_origins_are_compared_whole(origin, is_refused):
    """Exactly a scheme, a name and perhaps a port, as browsers send them."""
    assert refuses(LOCAL, host="localhost:8080", origin=origin) is is_refused


def test_a_rebound_page_has_no_way_in():
    """Its host and its origin agree with each other, and are still not ours."""
    assert refuses(LOCAL, host="evil.example:8080", origin="http://evil.example:8080")
    assert refuses(LOCAL, host="evil.example:8080")


@pytest.mark.parametrize(
    "given", ["fd00::1", "[fd00::1]", "FD00:0::1", "models.lan:8080", "Models.LAN"]
)
def test_hosts_may_be_given_as_people_write_them(given):
    """With or without brackets, with a port that does not matter."""
    host = "models.lan:443" if "lan" in given.lower() else "[fd00::1]:443"

    assert not refuses(Settings(allowed_hosts=[given]), host=host)
    assert not refuses(
        Settings(cors_origins=["https://Chat.example/"]), origin="https://chat.example"
    )
