from base64 import b64encode
from hashlib import sha256

import pytest

from tests.gateway.live import serving


@pytest.fixture
async def live(fake_engine, tmp_path):
    async with serving(fake_engine, tmp_path) as live:
        yield live


async def test_the_document_is_served(live):
    """As JSON, which names the route that it came from."""
    response = await live.http.get("/openapi.json")

    assert response.headers["content-type"] == "application/json"
    assert response.json()["paths"]["/openapi.json"]["get"]["operationId"] == "read_document"


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_what_is_known_is_not_sent_again(live, path):
    """It changes with the version only, which a client finds out by asking."""
    first = await live.http.get(path)
    again = await live.http.get(path, headers={"if-none-match": first.headers["etag"]})
    other = await live.http.get(path, headers={"if-none-match": '"another"'})

    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert other.content == first.content


async def test_the_page_may_use_its_own_style_alone(live):
    """The policy names what stands between the tags, byte for byte."""
    page = await live.http.get("/docs")
    style = page.text.split("<style>")[1].split("</style>")[0]
    digest = b64encode(sha256(style.encode()).digest()).decode()

    assert page.headers["content-type"].startswith("text/html")
    assert f"style-src 'sha256-{digest}'" in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
