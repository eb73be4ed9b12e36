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


async def test_what_a_model_is_computed_in(fake_engine, tmp_path):
    """Its own, or else the server's; `show` and `plan` say the same."""
    for name in ("tiny", "other"):
        add_model(fake_engine, tmp_path, name)
    settings = {"dtype": "bfloat16", "model": {"tiny": {"dtype": "float32", "kv_dtype": "q8_0"}}}
    found = {}
    async with serving(fake_engine, tmp_path, **settings) as live:
        for name in ("tiny", "other"):
            for path in ("show", "plan"):
                told = (await live.http.post(f"/v1/models/{path}", json={"model": name})).json()
                found[name, path] = told["dtype"], told["kv_dtype"]

    own, servers = ("float32", "q8_0"), ("bfloat16", "auto")
    assert found == {
        ("tiny", "show"): own,
        ("tiny", "plan"): own,
        ("other", "show"): servers,
        ("other", "plan"): servers,
    }
