import json

import pytest

from gateway.catalog.stores.ollama import find

LIBRARY = "registry.ollama.ai/library"


@pytest.mark.parametrize(
    ("manifest", "name"),
    [
        (f"{LIBRARY}/llama3.2/latest", "llama3.2"),
        (f"{LIBRARY}/llama3.2/1b", "llama3.2:1b"),
        ("registry.ollama.ai/me/mine/latest", "me/mine"),
        ("hf.co/org/name-GGUF/Q4_K_M", "hf.co/org/name-GGUF:Q4_K_M"),
    ],
)
def test_names_are_those_that_ollama_shows(ollama, manifest, name):
    """Its own host and library go without saying, and so does the tag `latest`."""
    ollama.add(manifest, {"model": b"GGUF"})

    (found,) = find(ollama.root)

    assert found.id == name
    assert found.path.name.startswith("sha256-")


def test_names_of_the_same_weights_are_one_model(ollama):
    """What was made from a model is a preset of it, with its own words and parameters."""
    params = json.dumps({"temperature": 0.2, "num_ctx": 8192, "stop": ["<end>"]}).encode()
    ollama.add(f"{LIBRARY}/llama3.2/latest", {"model": b"GGUF", "params": params})
    ollama.add(f"{LIBRARY}/llama3.2/1b", {"model": b"GGUF", "params": params})
    ollama.add(f"{LIBRARY}/mario/latest", {"model": b"GGUF", "system": b"You are Mario."})

    (found,) = find(ollama.root)
    presets = dict(found.presets)

    assert found.id == "llama3.2"
    assert presets["llama3.2"].temperature == presets["llama3.2:1b"].temperature == 0.2
    assert presets["llama3.2"].stop == ["<end>"]
    assert presets["mario"].system == "You are Mario."


def test_values_that_no_request_may_have_are_left_out(ollama):
    """A store's nonsense does not keep its model from being served."""
    params = json.dumps({"temperature": "hot", "top_p": 7, "top_k": 40, "num_predict": -1})
    ollama.add(f"{LIBRARY}/m/latest", {"model": b"GGUF", "params": params.encode()})

    (found,) = find(ollama.root)
    (preset,) = dict(found.presets).values()

    assert (preset.temperature, preset.top_p, preset.max_tokens) == (None, None, None)
    assert preset.top_k == 40


def test_what_is_more_than_weights_is_left_out(ollama):
    """Without its adapter it would be another model; its tensors alone are no file."""
    ollama.add(f"{LIBRARY}/tuned/latest", {"model": b"GGUF", "adapter": b"lora"})
    ollama.add(f"{LIBRARY}/mlx/latest", {"tensor": b"x"})
    manifest = ollama.add(f"{LIBRARY}/broken/latest", {"model": b"other"})
    manifest.write_text("{")

    assert find(ollama.root) == []


def test_a_digest_is_no_path(ollama, tmp_path):
    """A manifest names blobs of its own store and nothing else."""
    (tmp_path / "secret.gguf").write_bytes(b"x")
    manifest = ollama.add(f"{LIBRARY}/m/latest", {"model": b"GGUF"})
    media_type = "application/vnd.ollama.image.model"
    layer = {"mediaType": media_type, "digest": "sha256:../../../secret.gguf"}
    manifest.write_text(json.dumps({"layers": [layer]}))

    assert find(ollama.root) == []


def test_a_blob_outside_the_store_is_not_read(ollama, tmp_path):
    """Neither weights nor texts are taken from where a link leads out."""
    ollama.add(f"{LIBRARY}/m/latest", {"model": b"GGUF"})
    (blob,) = (ollama.root / "blobs").iterdir()
    (tmp_path / "outside").write_bytes(b"x")
    blob.unlink()
    blob.symlink_to(tmp_path / "outside")

    assert find(ollama.root) == []
