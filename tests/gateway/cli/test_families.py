import json
import subprocess
import sys


def test_families_are_listed(roundhouse):
    """One line each, and the weight formats below."""
    lines = roundhouse("families").splitlines()

    assert lines[0].split()[:3] == ["FAMILY", "MODEL", "TYPES"]
    assert any(line.startswith("gemma3 ") for line in lines)
    assert lines[-1].startswith("Weight formats: ")


def test_json_has_every_field(roundhouse):
    """For programs: words of both formats."""
    known = json.loads(roundhouse("families", "--json"))
    (llama,) = [family for family in known["families"] if family["name"] == "llama"]

    assert llama["architectures"] == ["LlamaForCausalLM"]
    assert "Q4_K" in known["formats"]


def test_markdown_is_the_document(roundhouse):
    """What docs/models.md holds."""
    assert roundhouse("families", "--markdown").startswith("# Models\n")


def test_the_command_itself_imports_no_torch():
    """The engine is asked in a process of its own."""
    code = "import sys, gateway.cli.families; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
