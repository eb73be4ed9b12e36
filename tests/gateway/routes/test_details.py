from tests.gateway.live import add_model, serving


async def test_all_that_is_known_of_a_model(fake_engine, tmp_path):
    """Where it lies, its licence, and what it needs by context; the one served here among them."""
    add_model(fake_engine, tmp_path, "tiny")
    (tmp_path / "LICENSE.txt").write_text("terms")
    async with serving(fake_engine, tmp_path) as live:
        reply = await live.http.post("/v1/models/show", json={"model": "TINY"})
        listed = (await live.http.get("/v1/models/tiny")).json()
    details = reply.json()

    assert details["model"]["id"] == "tiny"
    assert details["model"]["source"] == "models"
    assert details["licences"] == [str(tmp_path / "LICENSE.txt")]
    assert details["path"] == str(tmp_path / "tiny.gguf")
    sizes = {need["tokens"]: need["bytes"] for need in details["needs"]}
    assert listed["context_length"] in sizes
    assert list(sizes.values()) == sorted(sizes.values())


async def test_a_model_that_is_not_there(fake_engine, tmp_path):
    """As everywhere."""
    async with serving(fake_engine, tmp_path) as live:
        reply = await live.http.post("/v1/models/show", json={"model": "none"})

    assert reply.status_code == 404
