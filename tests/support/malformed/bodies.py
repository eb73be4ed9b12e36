"""Bodies that are no JSON of a request, and names that no model has: the same for every route."""

import gzip
from collections.abc import Iterator

from raw_http import HEAD, post

from malformed.case import COMPLETION, MODEL, ROUTES, TOO_LARGE, Body, Case, encoded


def _nested(depth: int, opening: str = '{"a":', closing: str = "}") -> str:
    return opening * depth + "1" + closing * depth


_BODIES: dict[str, bytes] = {
    "empty": b"",
    "white space": b" \r\n\t",
    "not JSON": b"hello",
    "half an object": b'{"model": "a", ',
    "two objects": b"{}{}",
    "trailing comma": b'{"model": "a",}',
    "single quotes": b"{'model': 'a'}",
    "comment": b'{"model": "a" /* x */}',
    "unquoted NaN": b'{"model": "a", "temperature": NaN}',
    "unquoted Infinity": b'{"model": "a", "temperature": -Infinity}',
    "bare word": b'{"model": undefined}',
    "NUL in a string": b'{"model": "a\x00"}',
    "raw line break in a string": b'{"model": "a\nb"}',
    "BOM": b'\xef\xbb\xbf{"model": "a"}',
    "UTF-16": '{"model": "a"}'.encode("utf-16"),
    "bad UTF-8": b'{"model": "\xff\xfe"}',
    "bad UTF-8 in an unknown field": b'{"model": "a", "x": "\xc0\xaf"}',
    "surrogate in UTF-8": b'{"model": "\xed\xa0\x80"}',
    "lone surrogate escaped": rb'{"model": "\ud800"}',
    "surrogates reversed": rb'{"model": "\udc00\ud800"}',
    "bad escape": rb'{"model": "\x41"}',
    "short escape": rb'{"model": "\u12"}',
    "array": b"[]",
    "null": b"null",
    "number": b"42",
    "string": b'"model"',
    "deep array": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "deep unknown field": f'{{"model": "{MODEL}", "x": {_nested(70)}}}'.encode(),
    "form": b"model=a&prompt=b",
}


_NAMES = {
    "path": "../../../../etc/passwd",
    "absolute path": "/etc/passwd",
    "escaped path": "..%2f..%2fetc%2fpasswd",
    "folder": "tiny",
    "NUL": f"{MODEL}\0",
    "line breaks": f"{MODEL}\r\nX-Evil: 1",
    "terminal escape": "\x1b[2J\x1b]0;evil\x07",
    "zero width": "llama\u200b-plain-F32",
    "right to left": "\u202ellama",
    "glob": "*",
    "10 KB": "m" * 10_000,
}


def bodies() -> Iterator[Case]:
    """The same for every route that takes a body."""
    for path, body in ROUTES.items():
        for name, raw in _BODIES.items():
            yield Case(f"{name}: {path}", path, post(path, raw))
        for name, model in _NAMES.items():
            yield _unknown(f"{name}: {path}", path, body | {"model": model})
        packed = gzip.compress(encoded(body))
        head = HEAD + b"Content-Encoding: gzip\r\n"
        code = "unsupported_content_encoding"
        yield Case(f"gzip: {path}", path, post(path, packed, head), 415, code=code)
        yield Case(f"too large: {path}", path, post(path, bytes(10**7 + 1)), 413, code=TOO_LARGE)
    yield _unknown("9 MB of a name", "/v1/completions", COMPLETION | {"model": "m" * 9_000_000})


def _unknown(name: str, path: str, body: Body) -> Case:
    raw = post(path, encoded(body))
    return Case(f"model by {name}", path, raw, 404, code="model_not_found", param="model")
