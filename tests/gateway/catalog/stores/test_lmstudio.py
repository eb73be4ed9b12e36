from pathlib import Path

from gateway.catalog.stores.lmstudio import find


def test_publisher_and_repository_are_the_name(tmp_path: Path):
    """Files lie two folders deep; what lies elsewhere, or is hidden, is no model."""
    for name in (
        "publisher/repo-GGUF/m-Q4_K_M.gguf",
        "publisher/repo-GGUF/mmproj-m-F16.gguf",
        "publisher/whole/config.json",
        "publisher/whole/model.safetensors",
        ".internal/repo/x-Q4_0.gguf",
        "loose-Q4_0.gguf",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")

    assert [found.id for found in find(tmp_path)] == [
        "publisher/repo-GGUF:Q4_K_M",
        "publisher/whole",
    ]
