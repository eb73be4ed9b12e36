from gateway.catalog.stores.huggingface import find


def ids(huggingface) -> list[str]:
    return [found.id for found in find(huggingface.root)]


def test_repositories_go_by_their_names(huggingface):
    """Safetensors are the repository; each GGUF in it is a tag; data sets are none."""
    huggingface.add("org/name", "config.json", "model.safetensors", "README.md")
    huggingface.add("org/quants", "quants-Q4_K_M.gguf", "UD/quants-UD-Q2_K_XL.gguf", "plain.gguf")
    huggingface.add("old", "config.json", "model.safetensors")
    (huggingface.root / "datasets--org--data").mkdir()

    assert ids(huggingface) == [
        "old",
        "org/name",
        "org/quants:UD-Q2_K_XL",
        "org/quants:plain",
        "org/quants:Q4_K_M",
    ]


def test_main_is_what_is_served(huggingface):
    """Of several snapshots the one that `main` names; another file there is another stamp."""
    huggingface.add("org/name", "a-Q8_0.gguf", commit="a" * 40)
    huggingface.add("org/name", "b-Q4_0.gguf", commit="b" * 40)
    huggingface.set_main("org/name", "a" * 40)

    assert ids(huggingface) == ["org/name:Q8_0"]


def test_a_ref_is_a_commit_and_no_path(huggingface, tmp_path):
    """Whatever is written in refs/main, nothing beside the snapshots is walked."""
    huggingface.add("org/name", "a-Q8_0.gguf")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret.gguf").write_bytes(b"x")
    huggingface.set_main("org/name", "../../../elsewhere")

    assert ids(huggingface) == ["org/name:Q8_0"]


def test_a_link_out_of_the_cache_is_not_followed(huggingface, tmp_path):
    """A cache may be writable by others; what it links to elsewhere is not theirs to show."""
    snapshot = huggingface.add("org/name", "a-Q8_0.gguf")
    (tmp_path / "outside-Q4_0.gguf").write_bytes(b"x")
    (snapshot / "outside-Q4_0.gguf").symlink_to(tmp_path / "outside-Q4_0.gguf")

    assert ids(huggingface) == ["org/name:Q8_0"]


def test_what_is_not_whole_or_no_model_is_left_out(huggingface):
    """Downloads that broke off, projectors, statistics and adapters."""
    huggingface.add("org/part", "config.json", "model-00001-of-00002.safetensors")
    huggingface.add("org/split", "x-Q4_0-00001-of-00002.gguf", "mmproj-x-F16.gguf", "imatrix.gguf")
    huggingface.add("org/lora", "config.json", "adapter_model.safetensors")
    snapshot = huggingface.add("org/gone", "a-Q8_0.gguf")
    (snapshot / "a-Q8_0.gguf").resolve().unlink()

    assert ids(huggingface) == []


def test_a_split_file_is_one_model(huggingface):
    """It is opened by its first part, where the others lie beside it."""
    snapshot = huggingface.add(
        "org/name", "Q4_0/x-Q4_0-00001-of-00002.gguf", "Q4_0/x-Q4_0-00002-of-00002.gguf"
    )

    (found,) = find(huggingface.root)

    assert found.id == "org/name:Q4_0"
    assert found.path == snapshot / "Q4_0/x-Q4_0-00001-of-00002.gguf"
    assert found.stamp.num_bytes == 2
