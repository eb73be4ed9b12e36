"""The document for people: one page of HTML that needs no script and nothing from anywhere else."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from html import escape
from importlib.resources import files
from itertools import starmap
from typing import Any

from gateway.openapi.types import words_of

Node = Mapping[str, Any]

_CODE = re.compile(r"`([^`]+)`")
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} {version}</title>
<style>{style}</style>
<body>
<nav aria-label="Routes">{nav}</nav>
<main><header><h1>{title} <small>{version}</small></h1>{about}
<p><a href="openapi.json">openapi.json</a></p></header>
{operations}<section><h2 id="schemas">Schemas</h2>{schemas}</section></main>
</body>
</html>
"""


@cache
def style() -> str:
    """What stands between the page's style tags, byte for byte."""
    return files("gateway.openapi").joinpath("page.css").read_text()


def page_of(document: Node) -> str:
    by_tag: dict[str, list[tuple[str, str, Node]]] = defaultdict(list)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            by_tag[operation["tags"][0]].append((method, path, operation))
    schemas = document["components"]["schemas"]
    tags = [tag["name"] for tag in document["tags"]]
    return _PAGE.format(
        title=escape(document["info"]["title"]),
        version=escape(document["info"]["version"]),
        style=style(),
        about=_prose(document["info"]["description"]),
        nav="".join(_links(tag, by_tag[tag]) for tag in tags),
        operations="".join(_section(tag, by_tag[tag], schemas) for tag in tags),
        schemas="".join(starmap(_schema, schemas.items())),
    )


def _links(tag: str, operations: list[tuple[str, str, Node]]) -> str:
    items = [
        f'<li><a href="#{escape(operation["operationId"])}">{_verb(method)} {escape(path)}</a></li>'
        for method, path, operation in operations
    ]
    return f"<h2>{escape(tag)}</h2><ul>{''.join(items)}</ul>"


def _section(tag: str, operations: list[tuple[str, str, Node]], schemas: Node) -> str:
    shown = "".join(_operation(*operation, schemas) for operation in operations)
    return f"<section><h2>{escape(tag)}</h2>{shown}</section>"


def _operation(method: str, path: str, operation: Node, schemas: Node) -> str:
    parts = [
        f'<article id="{escape(operation["operationId"])}">',
        f"<h3>{_verb(method)} <code>{escape(path)}</code></h3>",
        f"<p><strong>{escape(operation['summary'])}.</strong></p>",
        _prose(operation.get("description", "")),
        _parameters(operation.get("parameters", [])),
        _body(operation.get("requestBody"), schemas),
        f'<div class="answers">{_table("Answers", _answers(operation["responses"]))}</div>',
        "</article>",
    ]
    return "".join(parts)


def _parameters(parameters: list[Node]) -> str:
    rows = [
        (
            f"<code>{escape(each['name'])}</code> <small>{each['in']}</small>",
            words_of(each["schema"]) + _prose(each.get("description", "")),
        )
        for each in parameters
    ]
    return _table("Parameters", rows)


def _body(body: Node | None, schemas: Node) -> str:
    """Its fields stand here as well as among the schemas, since they are what one comes for."""
    if body is None:
        return ""
    schema = body["content"]["application/json"]["schema"]
    fields = schemas[schema["$ref"].rpartition("/")[2]]
    table = _table("", _fields(fields))
    return f"<details><summary>Body: {words_of(schema)}</summary>{table}</details>"


def _answers(responses: Node) -> Iterator[tuple[str, str]]:
    for status, response in responses.items():
        shown = "".join(
            f"<div><small>{escape(media_type)}</small> {words_of(content['schema'])}</div>"
            for media_type, content in response.get("content", {}).items()
        )
        yield f'<b class="s{status[0]}">{status}</b>', _prose(response["description"]) + shown


def _schema(name: str, schema: Node) -> str:
    return (
        f'<article id="{escape(name)}"><h3><code>{escape(name)}</code></h3>'
        f"{_prose(schema.get('description', ''))}{_table('', _fields(schema))}</article>"
    )


def _fields(schema: Node) -> Iterator[tuple[str, str]]:
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        mark = " <small>required</small>" if name in required else ""
        described = words_of(field) + _prose(field.get("description", ""))
        yield f"<code>{escape(name)}</code>{mark}", described


def _table(caption: str, rows: Iterator[tuple[str, str]] | list[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><th scope=row>{name}</th><td>{about}</td></tr>" for name, about in rows)
    heading = f"<caption>{caption}</caption>" if caption else ""
    return f"<table>{heading}{lines}</table>" if lines else ""


def _verb(method: str) -> str:
    return f'<b class="{method}">{method.upper()}</b>'


def _prose(text: str) -> str:
    paragraphs = [_CODE.sub(r"<code>\1</code>", part) for part in escape(text).split("\n\n")]
    return "".join(f"<p>{part}</p>" for part in paragraphs if part)
