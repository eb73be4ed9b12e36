from pathlib import Path

from gateway.catalog.stores.llamacpp import find


def test_a_manifest_gives_the_repository(tmp_path: Path):
    """Underscores alone do not say where the organisation ends; without a manifest they stay."""
    for name in (
        "manifest=my_org=a_model-GGUF=latest.json",
        "my_org_a_model-GGUF_a_model-Q8_0.gguf",
        "my_org_a_model-GGUF_a_model-Q8_0.gguf.json",
        "my_org_a_model-GGUF_mmproj-F16.gguf",
        "my_org_a_model-GGUF_a_model-Q4_0.gguf.downloadInProgress",
        "else_b-Q4_0.gguf",
    ):
        (tmp_path / name).write_bytes(b"{}")

    assert {found.id for found in find(tmp_path)} == {"my_org/a_model-GGUF:Q8_0", "else_b-Q4_0"}


def test_the_longer_repository_fits_better(tmp_path: Path):
    """Where one name begins like another."""
    for name in (
        "manifest=org=m=latest.json",
        "manifest=org=m_two=latest.json",
        "org_m_two_x-Q8_0.gguf",
    ):
        (tmp_path / name).write_bytes(b"{}")

    assert [found.id for found in find(tmp_path)] == ["org/m_two:Q8_0"]
