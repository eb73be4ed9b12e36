import subprocess
import sys

import pytest

from gateway.__main__ import main


def test_help_loads_nothing_heavy():
    """--help is quick: what only some commands need is imported by those."""
    script = (
        "import sys\nfrom gateway.__main__ import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print(*sys.modules, file=sys.stderr)\n"
    )
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)

    modules = set(loaded.stderr.decode().split())
    assert modules.isdisjoint({"torch", "litestar", "httpx", "rich", "tokenizers"})
    assert b"serve" in loaded.stdout


def test_error_is_one_line_and_status_one(capsys):
    """A command that cannot go on ends with a sentence, not with a traceback."""
    with pytest.raises(SystemExit, match=r"^roundhouse: no server at http://127.0.0.1:9"):
        main(["list", "--url", "http://127.0.0.1:9"])


@pytest.mark.parametrize("argv", [[], ["dance"], ["run"]])
def test_bad_call_shows_usage(argv, capsys):
    """What cannot be parsed ends with status 2 and the usage."""
    with pytest.raises(SystemExit, match="2"):
        main(argv)

    assert "usage: roundhouse" in capsys.readouterr().err
