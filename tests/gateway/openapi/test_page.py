import re
from html.parser import HTMLParser

import pytest

from gateway.openapi.page import page_of
from gateway.openapi.types import words_of

VOID = {"meta", "br"}


class Outline(HTMLParser):
    """ids: of all elements. links: where they lead. open: elements that were never closed."""

    def __init__(self, page) -> None:
        super().__init__()
        self.ids, self.links, self.tags, self.open = [], [], set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.add(tag)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def outline(document):
    return Outline(page_of(document))


def test_everything_is_on_it(document, outline):
    """Every operation and every schema, once."""
    operations = [o["operationId"] for each in document["paths"].values() for o in each.values()]

    assert sorted(outline.ids) == sorted(
        [*operations, *document["components"]["schemas"], "schemas"]
    )


def test_every_link_leads_somewhere_on_it(outline):
    """But for the document itself; nothing is fetched from elsewhere, and no script runs."""
    inside = {link.removeprefix("#") for link in outline.links if link.startswith("#")}

    assert inside <= set(outline.ids)
    assert {link for link in outline.links if not link.startswith("#")} == {"openapi.json"}
    assert not outline.tags & {"script", "img", "link", "iframe"}


def test_its_elements_are_closed(outline):
    """The page is made of strings, so a slip would show here."""
    assert outline.open == []


def test_text_is_never_markup(document):
    """Descriptions are prose, whatever stands in them."""
    info = document["info"] | {"description": "<script>x</script> and `a<b`"}

    page = page_of(document | {"info": info})

    assert "<script>" not in page
    assert "<code>a&lt;b</code>" in page


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({}, "anything"),
        ({"type": "integer", "minimum": 0, "maximum": 2}, "integer (0 to 2)"),
        ({"type": "integer", "minimum": 0}, "integer (at least 0)"),
        ({"type": "string", "maxLength": 4}, "string (at most 4 characters)"),
        (
            {"type": "number", "exclusiveMinimum": 0, "default": 1},
            "number (more than 0, by default 1)",
        ),
        ({"type": "array", "items": {"type": "string"}}, "array of string"),
        ({"anyOf": [{"$ref": "#/components/schemas/A"}, {"type": "null"}]}, "A or null"),
        ({"type": "object", "additionalProperties": {"type": "boolean"}}, "object of boolean"),
        ({"enum": ["a", None]}, '"a" or null'),
        ({"const": "[DONE]"}, '"[DONE]"'),
    ],
)
def test_a_type_in_words(schema, words):
    """What a reader needs of it."""
    assert re.sub(r"<[^>]+>", "", words_of(schema)).replace("&quot;", '"') == words
