"""Keys in files, as operators and Kubernetes' secrets bring them."""

import pytest

from gateway.keys.errors import KeysError
from gateway.keys.file import read_keys
from gateway.keys.key import digest_of

SECRET = "a-secret-of-an-operator"


def test_toml_and_json_say_the_same(tmp_path):
    """By the file's name; a key as it is, or as its hash."""
    toml, json = tmp_path / "keys.toml", tmp_path / "keys.json"
    toml.write_text(f'[[keys]]\nname = "ann"\nkey = "{SECRET}"\nscopes = ["infer", "admin"]\n')
    hashed = digest_of(SECRET)
    json.write_text(
        f'{{"keys": [{{"name": "ann", "hash": "{hashed}", "scopes": ["admin", "infer"]}}]}}'
    )

    (key,) = read_keys(toml)
    assert (key.name, key.digest, key.scopes) == ("ann", hashed, {"infer", "admin"})
    assert read_keys(json) == [key]


@pytest.mark.parametrize(
    "text",
    [
        '[[keys]]\nname = "ann"',
        f'[[keys]]\nname = "ann"\nkey = "{SECRET}"\nhash = "{"0" * 64}"',
        '[[keys]]\nname = "ann"\nkey = "short"',
        f'[[keys]]\nname = "a b"\nkey = "{SECRET}"',
        f'[[keys]]\nname = "ann"\nkey = "{SECRET}"\nscope = ["infer"]',
        f'[[keys]]\nname = "ann"\nkey = "{SECRET}"\nscopes = ["all"]',
        f'[[keys]]\nname = "ann"\nkey = "{SECRET}"\nconcurrency = 0',
        f'[[keys]]\nname = "ann"\nkey = "{SECRET}',
        "nothing",
    ],
)
def test_a_mistake_is_named_and_no_key_is(tmp_path, text):
    """The message ends in logs: it has the file's name and the mistake, and never a key."""
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(KeysError) as caught:
        read_keys(path)

    assert str(path) in str(caught.value)
    assert SECRET not in str(caught.value)
