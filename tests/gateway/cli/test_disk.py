import json


def test_what_models_and_images_take(roundhouse, tmp_path, monkeypatch):
    """The largest first; images and free space beside them. No server is asked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, size in (("models/small.gguf", 10), ("models/large.gguf", 5000)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    images = tmp_path / "cache" / "roundhouse" / "images"
    images.mkdir(parents=True)
    (images / "image").write_bytes(b"x" * 5000)

    usage = json.loads(roundhouse("du", "--json"))

    assert [model["model"] for model in usage["models"]] == ["large", "small"]
    assert usage["images"]["bytes"] >= 5000
    assert all(place["bytes"] > 0 for place in usage["free"])


def test_no_models_are_said(roundhouse, tmp_path):
    """A folder that is not there takes nothing."""
    assert "No models in" in roundhouse("du", "--models-dir", str(tmp_path / "none"))
