import pytest

from gateway.hub.allow import is_allowed
from gateway.hub.errors import HubError
from gateway.hub.files import RemoteFile, is_safe
from gateway.hub.plan import plan
from gateway.hub.reference import read_reference


def planned(name: str, *paths: str) -> list[str]:
    files = tuple(RemoteFile(path, 1, blob_id="0" * 40) for path in paths)
    return [file.path for file in plan(read_reference(name), files).files]


def refusal(name: str, *paths: str) -> str:
    with pytest.raises(HubError) as refused:
        planned(name, *paths)
    assert refused.value.code == "nothing_to_pull"
    return refused.value.message


SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
INDEX = "model.safetensors.index.json"


def test_a_folder_is_its_weights_and_what_describes_them():
    """Neither code nor pickles, nor the same weights in other forms."""
    wanted = [
        "LICENSE",
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]
    others = ["README.md", "modeling.py", "pytorch_model.bin", "model.fp16.safetensors", "x.pkl"]
    others += ["consolidated.safetensors", "onnx/model.onnx", "original/params.json"]

    assert planned("o/n", *others, *wanted) == wanted


def test_an_index_brings_its_shards():
    """And not the weights that Mistral puts beside them."""
    assert planned("o/n", "config.json", INDEX, "consolidated.safetensors", *SHARDS) == sorted(
        ["config.json", INDEX, *SHARDS]
    )


def test_modules_of_sentence_transformers_come_along():
    """They say how vectors are pooled."""
    files = ["1_Pooling/config.json", "config.json", "model.safetensors", "modules.json"]

    assert planned("o/n", *files, "2_Dense/pytorch_model.bin") == files


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        (["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-F16.gguf"], "m-Q4_K_M.gguf"),
        (["m-Q5_0.gguf", "m.q8_0.gguf"], "m.q8_0.gguf"),
        (["only.gguf", "mmproj-F16.gguf"], "only.gguf"),
        (["m-Q2_K.gguf", "config.json", "model.safetensors"], None),
    ],
)
def test_without_a_choice_the_usual_comes(there, chosen):
    """As llama.cpp chooses: Q4_K_M, else Q8_0; then safetensors, then what is alone."""
    assert planned("o/n", *there) == ([chosen] if chosen else ["config.json", "model.safetensors"])


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        ("q4_k_m", ["m-Q4_K_M.gguf"]),
        ("Q4_K_XL", ["m-UD-Q4_K_XL.gguf"]),
        ("IQ1_S", ["IQ1_S/m-00001-of-00002.gguf", "IQ1_S/m-00002-of-00002.gguf"]),
        ("m-Q4_K_M.gguf", ["m-Q4_K_M.gguf"]),
        ("mmproj-F16.gguf", None),
        ("Q3_K", None),
        ("BF16", None),
    ],
)
def test_a_choice_is_a_quantisation_or_a_file(choice, chosen):
    """Without regard to case, with all parts; of split ones only whole ones, and no projectors."""
    there = ["m-Q4_K_M.gguf", "m-UD-Q4_K_XL.gguf", "mmproj-F16.gguf", "b-BF16-00001-of-00002.gguf"]
    there += ["IQ1_S/m-00001-of-00002.gguf", "IQ1_S/m-00002-of-00002.gguf"]
    if chosen is None:
        assert "Q4_K_M, UD-Q4_K_XL" in refusal(f"o/n:{choice}", *there)
    else:
        assert planned(f"o/n:{choice}", *there) == chosen


def test_what_could_be_several_is_asked_back():
    """With names that say which."""
    assert "o/n:a-Q8_0.gguf, o/n:b-Q8_0.gguf" in refusal("o/n:q8_0", "a-Q8_0.gguf", "b-Q8_0.gguf")


def test_pickles_are_named_as_the_reason():
    """They are all that there is, and still not fetched."""
    assert "pickles" in refusal("o/n", "config.json", "pytorch_model.bin")
    assert "neither" in refusal("o/n", "README.md")


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a//b", ".git/config", "a/../b", "a\\b", "a\nb", ""]
)
def test_paths_that_leave_their_folder_are_none(path):
    """A mirror could say anything."""
    assert not is_safe(path)


def test_the_allow_list_is_by_owner_and_name():
    """Nothing is allowed unless it is said; a star does not reach over the slash."""
    assert is_allowed("Org/Name", ["org/*"])
    assert is_allowed("a/b", ["*/*"])
    assert not is_allowed("organ/name", ["org/*"])
    assert not is_allowed("org/name", ["*"])
    assert not is_allowed("org/name", [])
