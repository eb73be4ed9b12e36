import asyncio
import json
import subprocess
import sys

from gateway.log import begin_facts, note


async def test_facts_of_tasks_reach_the_request_that_started_them():
    """A reply is made in a task of its own, and still has one line."""
    facts = begin_facts()

    async def work() -> None:
        note(model="m")

    await asyncio.create_task(work())
    note(status=200)

    assert facts == {"model": "m", "status": 200}


async def test_facts_of_requests_stay_apart():
    """Each task collects its own."""

    async def request(model: str) -> dict[str, object]:
        facts = begin_facts()
        note(model=model)
        await asyncio.sleep(0)  # lets the other one in
        return facts

    a, b = await asyncio.gather(request("a"), request("b"))

    assert (a, b) == ({"model": "a"}, {"model": "b"})


def test_lines_are_json_where_no_terminal_is():
    """Ours and those of libraries alike, each with its level and time."""
    program = (
        "import logging, structlog; from gateway.log import configure_logging;"
        "configure_logging(); structlog.get_logger().info('loaded', model='m');"
        "logging.getLogger('x').warning('odd')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    ours, theirs = [json.loads(line) for line in done.stderr.splitlines()]
    assert (ours["event"], ours["model"], ours["level"]) == ("loaded", "m", "info")
    assert (theirs["event"], theirs["level"]) == ("odd", "warning")
    assert "timestamp" in ours
    assert "timestamp" in theirs
