from pathlib import Path

from gateway.catalog.licences import licences_of


def put(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("terms")


def test_terms_lie_in_the_models_folder(tmp_path: Path):
    """By any of the names that licences have; a README is none."""
    put(tmp_path, "LICENSE", "licence.txt", "NOTICE.md", "README.md", "LICENSES-of-others.txt")

    assert [Path(found).name for found in licences_of(tmp_path)] == [
        "LICENSE",
        "NOTICE.md",
        "licence.txt",
    ]


def test_terms_of_a_file_have_its_name(tmp_path: Path):
    """Where one folder has models of several licences."""
    put(tmp_path, "a.gguf", "b.gguf", "licences/a.txt", "licences/b.html")

    assert licences_of(tmp_path / "a.gguf") == [str(tmp_path / "licences" / "a.txt")]


def test_a_folder_that_is_gone_has_none(tmp_path: Path):
    """Files come and go."""
    assert licences_of(tmp_path / "gone" / "m.gguf") == []
