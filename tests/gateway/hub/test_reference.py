import pytest

from gateway.hub.errors import HubError
from gateway.hub.reference import Reference, read_reference


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("org/name", Reference("org/name")),
        ("org/name:Q4_K_M", Reference("org/name", "Q4_K_M")),
        ("org/name:dir/file-00001-of-00002.gguf", None),
        ("hf.co/org/name:q8_0", Reference("org/name", "q8_0")),
        ("https://huggingface.co/Org/Na.me-1", Reference("Org/Na.me-1")),
        ("org/name:latest", Reference("org/name")),
    ],
)
def test_names_are_read_as_people_write_them(text, reference):
    """Also as Ollama's clients do, who add a tag to what has none."""
    if reference is None:
        repo, _, choice = text.partition(":")
        reference = Reference(repo, choice)

    assert read_reference(text) == reference


@pytest.mark.parametrize(
    "text",
    [
        "llama3.2",
        "../etc",
        "a/b/c",
        "org/..",
        "org/na me",
        "-o/n",
        "org/n:../x",
        "org/n:/x",
        "o//n",
    ],
)
def test_what_is_no_name_is_refused(text):
    """What is read is safe as a part of a path and of a URL."""
    with pytest.raises(HubError) as refused:
        read_reference(text)

    assert refused.value.code == "bad_reference"


def test_revisions_are_names():
    """A branch may have slashes; nothing climbs."""
    assert read_reference("org/name", "refs/pr/1").revision == "refs/pr/1"

    with pytest.raises(HubError):
        read_reference("org/name", "../../x")
