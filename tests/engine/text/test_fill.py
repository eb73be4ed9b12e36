"""Gaps in the layouts of the families that fill them."""

import json
import shutil

import pytest
import tokenizers

from engine.api import EngineError, FillPrompt, Snippet, TextSource
from engine.checkpoint import open_checkpoint
from engine.text.fill import can_fill, find_filler
from engine.text.library import Library
from engine.text.pipeline import PipelineTokenizer
from engine.text.prompts import PromptReader
from engine.text.template import Renderer
from engine.text.tokenizer import Specials

PROMPT = FillPrompt("ab", "cd")
QWEN = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|repo_name|>", "<|file_sep|>"]
LAYOUTS = {
    "qwen": (QWEN, "<|fim_prefix|>ab<|fim_suffix|>cd<|fim_middle|>"),
    "codegemma": (QWEN[:3], "<|fim_prefix|>ab<|fim_suffix|>cd<|fim_middle|>"),
    "starcoder": (
        ["<fim_prefix>", "<fim_middle>", "<fim_suffix>"],
        "<fim_prefix>ab<fim_suffix>cd<fim_middle>",
    ),
    "santacoder": (
        ["<fim-prefix>", "<fim-middle>", "<fim-suffix>"],
        "<fim-prefix>ab<fim-suffix>cd<fim-middle>",
    ),
    "deepseek": (
        ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"],  # noqa: RUF001 - DeepSeek's own
        "<｜fim▁begin｜>ab<｜fim▁hole｜>cd<｜fim▁end｜>",  # noqa: RUF001 - DeepSeek's own
    ),
    "codellama": (["▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"], "▁<PRE>ab▁<SUF>cd▁<MID>"),
    "codestral": (["[SUFFIX]", "[PREFIX]", "[MIDDLE]"], "[SUFFIX]cd[PREFIX]ab"),
}


@pytest.fixture
def folder(family_folder, tmp_path):
    """A checkpoint whose tokenizer has these tokens, in place of its last ones."""

    def make(texts: list[str]):
        path = tmp_path / "model"
        shutil.copytree(family_folder("llama-bf16") / "hf", path)
        file = path / "tokenizer.json"
        tokenizer = tokenizers.Tokenizer.from_str(file.read_text())
        size = tokenizer.get_vocab_size()
        written = json.loads(file.read_text())
        written["added_tokens"] += [
            {"id": size + n, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": text.startswith("<")}
            for n, text in enumerate(texts)
        ]  # fmt: skip
        file.write_text(json.dumps(written, ensure_ascii=False))
        return path

    return make


@pytest.fixture
def lay_out(folder, tmp_path):
    """A prompt in the layout of a model that has these tokens, as its tokens spell it."""

    def lay_out(texts: list[str], prompt: FillPrompt) -> str:
        with open_checkpoint(folder(texts)) as checkpoint:
            backend = tokenizers.Tokenizer.from_file(str(tmp_path / "model/tokenizer.json"))
            tokenizer = PipelineTokenizer(backend, Specials(prefix=(0,)))
            filler = find_filler(checkpoint, tokenizer)
            assert can_fill(checkpoint)
        first, *ids = filler.lay_out(prompt, tokenizer)
        assert first == 0
        assert set(filler.ends) >= {id_ for id_ in (filler.prefix, filler.suffix) if id_}
        return b"".join(map(tokenizer.token_bytes, ids)).decode()

    return lay_out


@pytest.mark.parametrize("family", LAYOUTS)
def test_every_familys_layout(lay_out, family):
    """Behind the BOS; Codestral's has the suffix first and nothing for the gap itself."""
    texts, expected = LAYOUTS[family]

    assert lay_out(texts, PROMPT) == expected


def test_other_files_come_first(lay_out):
    """Each by its name where files are marked, and as snippets where they are not."""
    prompt = FillPrompt("ab", "cd", [Snippet("ef", "g.py"), Snippet("hi")])

    assert lay_out(QWEN, prompt) == (
        "<|repo_name|>project\n<|file_sep|>g.py\nef<|file_sep|>snippet\nhi<|file_sep|>filename\n"
        "<|fim_prefix|>ab<|fim_suffix|>cd<|fim_middle|>"
    )


@pytest.mark.parametrize("family", LAYOUTS)
def test_a_file_cannot_forge_a_gap(folder, tmp_path, family):
    """A text that spells a mark stays text, be it a control token or one of the user's."""
    texts, _ = LAYOUTS[family]
    with open_checkpoint(folder(texts)) as checkpoint:
        backend = tokenizers.Tokenizer.from_file(str(tmp_path / "model/tokenizer.json"))
        tokenizer = PipelineTokenizer(backend, Specials())
        filler = find_filler(checkpoint, tokenizer)
    ids = filler.lay_out(FillPrompt("".join(texts), texts[0]), tokenizer)

    assert sum(id_ in filler.ends for id_ in ids) == 3 - (filler.middle is None)


def test_snippets_without_marks(lay_out):
    """As llama.cpp writes them."""
    text = lay_out(QWEN[:3], FillPrompt("ab", "cd", [Snippet("ef", "g.py")]))

    assert text.startswith("--- snippet ---\n\nef\n<|fim_prefix|>")


@pytest.mark.parametrize(
    "keys", [("fim_pre", "fim_suf", "fim_mid"), ("prefix", "suffix", "middle")]
)
def test_a_gguf_names_its_tokens(family_folder, spaced, monkeypatch, keys):
    """By their present keys or the older ones; those of no token are none."""
    with open_checkpoint(next(family_folder("llama-plain").glob("*.gguf"))) as checkpoint:
        assert not can_fill(checkpoint)
        assert find_filler(checkpoint, spaced) is None
        values = {f"tokenizer.ggml.{key}_token_id": 10 + n for n, key in enumerate(keys)}
        values["tokenizer.ggml.fim_sep_token_id"] = 10**6
        monkeypatch.setattr(checkpoint.metadata, "_values", checkpoint.metadata._values | values)
        filler = find_filler(checkpoint, spaced)

        assert can_fill(checkpoint)
    assert (filler.prefix, filler.suffix, filler.middle, filler.file) == (10, 11, 12, None)


async def test_a_model_without_marks_refuses(family_folder, tmp_path):
    """It would go on with whatever it took the marks for."""
    path = family_folder("llama-bf16") / "hf"
    source = TextSource(str(path), open_checkpoint(path).digest, 368)
    renderer = Renderer()
    with pytest.raises(EngineError, match="fill in the middle") as caught:
        await PromptReader(Library(tmp_path), renderer).prepare(source, PROMPT)
    renderer.close()

    assert caught.value.param == "suffix"
