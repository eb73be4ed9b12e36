"""What a key says of itself."""

import pytest

from gateway.keys.credentials import MAX_LENGTH, secret_in
from gateway.keys.key import Key, Rights, digest_of, new_secret


def test_secrets_are_long_and_never_twice_the_same():
    """256 bits each, so that a plain hash of them can be kept."""
    secrets = {new_secret() for _ in range(100)}

    assert len(secrets) == 100
    assert all(secret.startswith("rh-") and len(secret) == 46 for secret in secrets)


@pytest.mark.parametrize(
    ("patterns", "model", "is_allowed"),
    [
        (("*",), "org/tiny", True),
        (("org/*",), "ORG/Tiny", True),
        (("org/*",), "other/tiny", False),
        (("tiny",), "org/tiny", False),
        ((), "org/tiny", False),
    ],
)
def test_models_are_allowed_by_pattern(patterns, model, is_allowed):
    """Of the whole name, in either case."""
    assert Rights(models=patterns).allows(model) is is_allowed


def test_a_key_of_its_own_has_a_cache_of_its_own():
    """Unless it says that it shares it; then it is that of those without a key."""
    digest = digest_of("x" * 20)

    assert Key(name="a", digest=digest).salt == digest[:16]
    assert Key(name="a", digest=digest, shares_cache=True).salt == ""


@pytest.mark.parametrize(
    ("headers", "secret"),
    [
        ({}, None),
        ({b"authorization": b"Bearer rh-1"}, "rh-1"),
        ({b"authorization": b"bearer  rh-1 "}, "rh-1"),
        ({b"x-api-key": b"rh-2"}, "rh-2"),
        ({b"authorization": b"Bearer rh-1", b"x-api-key": b"rh-2"}, "rh-1"),
        ({b"authorization": b"Basic eDp5", b"x-api-key": b"rh-2"}, "rh-2"),
        ({b"authorization": b"Basic eDp5"}, None),
        ({b"authorization": b"Bearer"}, None),
        ({b"authorization": b"Bearer \xff"}, None),
        ({b"authorization": b"Bearer " + b"x" * (MAX_LENGTH + 1)}, None),
    ],
)
def test_where_clients_put_their_keys(headers, secret):
    """OpenAI's in one header, Anthropic's in another; passwords for proxies are none."""
    assert secret_in(headers) == secret
