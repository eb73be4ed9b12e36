"""Coding agents from npm hold a turn: their prompts, tools and event loops; a small model need not be clever."""

import json

import pytest

from programs import npm_environment, run
from tests.clients.conftest import MODEL, requests_since

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def test_codex(gateway, tmp_path):
    """Over Responses, streamed; tools that only run at OpenAI are left out."""
    before = len(gateway.log.read_text())
    (tmp_path / "config.toml").write_text(
        f'model = "brief"\nmodel_provider = "roundhouse"\n[model_providers.roundhouse]\n'
        f'name = "Roundhouse"\nbase_url = "{gateway.url}/v1"\nwire_api = "responses"\n'
        "request_max_retries = 0\nstream_max_retries = 0\n"
    )
    codex = npm_environment("agents") / "node_modules/.bin/codex"
    command = [codex, "exec", "--skip-git-repo-check", "say hello"]
    # an answer that was cut short is a failure to it, as it may be here
    run(command, may_fail=True, HOME=str(tmp_path), CODEX_HOME=str(tmp_path))

    served = requests_since(gateway.log, before)
    assert ("/v1/responses", 200) in {(line["path"], line["status"]) for line in served}
    assert all(not line.get("error") for line in served if line["path"] == "/v1/responses")


def test_claude_code(gateway, tmp_path):
    """Over messages, streamed. Its own prompt has more tokens than the model's window, so it gets ours."""
    before = len(gateway.log.read_text())
    claude = npm_environment("agents") / "node_modules/.bin/claude"
    command = [claude, "-p", "--system-prompt", "Be brief.", "--tools", "Read", "--verbose"]
    command += ["--output-format", "stream-json", "--include-partial-messages", "say hello"]
    said = run(
        command,
        may_fail=True,  # as above
        HOME=str(tmp_path),
        ANTHROPIC_BASE_URL=gateway.url,
        ANTHROPIC_AUTH_TOKEN="none",
        ANTHROPIC_MODEL=MODEL,
        ANTHROPIC_SMALL_FAST_MODEL=MODEL,
        CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
        CLAUDE_CODE_MAX_OUTPUT_TOKENS="60",
    )

    events = [json.loads(line) for line in said.splitlines()]
    deltas = [
        e
        for e in events
        if e["type"] == "stream_event" and e["event"]["type"] == "content_block_delta"
    ]
    served = requests_since(gateway.log, before)
    assert len(deltas) > 1
    assert ("/v1/messages", 200) in {(line["path"], line["status"]) for line in served}
