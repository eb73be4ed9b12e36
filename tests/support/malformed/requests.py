"""Requests that are no HTTP, or could be read in two ways (RFC 9112, section 11)."""

from collections.abc import Iterator

from malformed.case import COMPLETION, GONE, TOO_LARGE, Case, encoded

_CHUNKED = b"Transfer-Encoding: chunked\r\n"
_LAST = b"0\r\n\r\n"
_HOST = b"Host: localhost\r\n"


def _request(headers: bytes, body: bytes, line: bytes = b"POST /v1/completions HTTP/1.1") -> bytes:
    return line + b"\r\n" + headers + b"\r\n" + body


def _chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


def requests() -> Iterator[Case]:
    """Requests that are no HTTP, or could be read in two ways (RFC 9112, section 11)."""
    body = encoded(COMPLETION)
    length = b"Content-Length: %d\r\n" % len(body)
    sized, chunked = _HOST + length, _HOST + _CHUNKED
    chunks = _chunk(body) + _LAST
    broken = {
        "length and chunked": _request(sized + _CHUNKED, chunks),
        "chunked and length": _request(chunked + length, chunks),
        "two lengths": _request(sized + b"Content-Length: 1\r\n", body),
        "two equal lengths": _request(sized + length, body),
        "list of lengths": _request(_HOST + b"Content-Length: 5, 5\r\n", body),
        "negative length": _request(_HOST + b"Content-Length: -1\r\n", body),
        "signed length": _request(_HOST + b"Content-Length: +%d\r\n" % len(body), body),
        "hexadecimal length": _request(_HOST + b"Content-Length: 0x10\r\n", body),
        "length of 23 digits": _request(_HOST + b"Content-Length: " + b"9" * 23 + b"\r\n", body),
        "space before the colon": _request(_HOST + length.replace(b":", b" :"), body),
        "chunked twice": _request(chunked + b"Transfer-Encoding: identity\r\n", chunks),
        "chunked with a tab": _request(_HOST + _CHUNKED.replace(b" ", b" \x0b"), chunks),
        "chunk of no size": _request(chunked, b"zz\r\nabc\r\n"),
        "chunk of a negative size": _request(chunked, b"-5\r\nabc\r\n"),
        "chunk of 2^72": _request(chunked, b"f" * 18 + b"\r\nabc\r\n"),
        "chunk longer than it says": _request(chunked, b"3\r\nabcdef\r\n" + _LAST),
        "chunk with bare line ends": _request(chunked, chunks.replace(b"\r\n", b"\n")),
        "bare line ends": _request(sized, b"").replace(b"\r\n", b"\n") + body,
        "bare carriage return": _request(sized + b"X: a\rb\r\n", body),
        "folded header": _request(sized + b"X: a\r\n b\r\n", body),
        "NUL in a header": _request(sized + b"X: a\x00b\r\n", body),
        "header without a colon": _request(sized + b"Xa\r\n", body),
        "header without a name": _request(sized + b": a\r\n", body),
        "space in a header's name": _request(sized + b"X a: b\r\n", body),
        "no host": _request(length, body),
        "two hosts": _request(sized + b"Host: evil.example\r\n", body),
        "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/9": _request(_HOST, b"", b"GET /livez HTTP/9.9"),
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "noise": bytes(range(256)) + b"\r\n\r\n",
        "unknown method": _request(_HOST, b"", b"BREW /v1/completions HTTP/1.1"),
        "a proxy's method": _request(_HOST, b"", b"CONNECT evil.example:443 HTTP/1.1"),
        "NUL in the path": _request(_HOST, b"", b"GET /\x00 HTTP/1.1"),
        "raw UTF-8 in the path": _request(_HOST, b"", "GET /é HTTP/1.1".encode()),
        "no path": _request(_HOST, b"", b"GET  HTTP/1.1"),
    }
    for name, raw in broken.items():
        yield Case(name, "", raw)
    for name in (b"identity", b"gzip, chunked", b"xchunked"):
        raw = _request(_HOST + b"Transfer-Encoding: " + name + b"\r\n", chunks)
        yield Case(f"{name.decode()} transfer", "", raw, 501, code="unsupported_transfer_encoding")
    large = {
        "header of 40 KB": _request(sized + b"X: " + b"a" * 40_000 + b"\r\n", body),
        "header of 1 MB": _request(sized + b"X: " + b"a" * 10**6 + b"\r\n", body),
        "101 headers": _request(sized + b"X: a\r\n" * 99 + b"\r\n", body),
        "50,000 headers": _request(sized + b"X: a\r\n" * 50_000, body),
        "path of 100 KB": _request(_HOST, b"", b"GET /" + b"a" * 10**5 + b" HTTP/1.1"),
    }
    for name, raw in large.items():
        yield Case(name, "", raw, 431, code="request_header_fields_too_large")
    huge = _request(_HOST + b"Content-Length: 999999999999\r\n", b"{")
    yield Case("length of a terabyte", "", huge, 413, code=TOO_LARGE)
    endless = _request(chunked, _chunk(bytes(10**7 + 1)) + _LAST)
    yield Case("chunks of 10 MB", "", endless, 413, code=TOO_LARGE)
    yield Case("other host", "", _request(b"Host: evil.example\r\n" + length, body), 403,
               type="permission_error", code="forbidden_origin")  # fmt: skip
    for name in (b"..%2f..%2fetc%2fpasswd", b"%00", b"%ff%fe", b"%0d%0aX:%20y"):
        raw = _request(_HOST, b"", b"GET /v1/models/" + name + b" HTTP/1.1")
        yield Case(name.decode(), "", raw, 404, code="model_not_found", param="model")
    for name in (b"/v1/../../etc/passwd", b"//evil.example", b"/v1/nothing"):
        raw = _request(_HOST, b"", b"GET " + name + b" HTTP/1.1")
        yield Case(name.decode(), "", raw, 404, code="not_found")
    wrong = _request(_HOST, b"", b"GET /v1/completions HTTP/1.1")
    yield Case("GET", "", wrong, 405, code="method_not_supported")
    fine = {
        "chunked": _request(chunked, chunks),
        "chunked with extensions": _request(chunked, chunks.replace(b"\r\n", b";a=b\r\n", 1)),
        "chunked with a trailer": _request(chunked, _chunk(body) + b"0\r\nX: y\r\n\r\n"),
        "of no type": _request(sized, body),
        "of a wrong type": _request(sized + b"Content-Type: text/plain\r\n", body),
        "that asks for HTTP/2": _request(
            sized + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n", body),
        "with an id of two lines": _request(sized + b"X-Request-Id: a b\r\n", body),
        "of HTTP/1.0": _request(length, body, b"POST /v1/completions HTTP/1.0"),
    }  # fmt: skip
    for name, raw in fine.items():
        yield Case(f"completion {name}", "", raw, 200)
    cut = {
        "body": _request(_HOST + b"Content-Length: 1000\r\n", body),
        "chunk": _request(chunked, b"%x\r\n%b" % (len(body) + 5, body)),
        "last chunk": _request(chunked, _chunk(body)),
        "header": b"POST /v1/completions HTTP/1.1\r\nX: a",
    }
    for name, raw in cut.items():
        yield Case(f"client that leaves before the {name} ends", "", raw, GONE, ends=True)
