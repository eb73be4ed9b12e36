import pytest


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/health"])
async def test_all_is_well(live, path):
    """Everything that is asked for by machines answers 200 while requests would be served."""
    response = await live.http.get(path)

    assert response.status_code == 200
    assert response.json()["status"] == "ok"


async def test_a_lost_worker_makes_it_unready_but_not_dead(live):
    """Killing the gateway would not bring the worker back any sooner."""
    live.engine.lose("cpu")

    assert (await live.http.get("/readyz")).status_code == 503
    assert (await live.http.get("/health")).status_code == 503
    assert (await live.http.get("/livez")).status_code == 200


async def test_broken_files_are_listed_and_make_nobody_unready(live):
    """What is wrong with a file is said, beside what is good."""
    await live.services.catalog.wait(5)

    health = (await live.http.get("/readyz")).json()

    assert health["models"] == 3
    assert "no checkpoint" in health["failures"]["broken"]


async def test_draining_is_unready(live):
    """A server that takes its leave gets no new requests from a balancer."""
    live.services.is_draining = True

    response = await live.http.get("/readyz")

    assert (response.status_code, response.json()["status"]) == (503, "draining")
