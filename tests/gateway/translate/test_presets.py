import msgspec
import pytest

from gateway.config import Preset, Settings, SettingsError
from gateway.openai.chat import ChatRequest
from gateway.openai.completion import CompletionRequest
from gateway.translate.presets import check_presets, preset_chat, preset_completion

FULL = Preset(
    model="base",
    temperature=0.2,
    top_p=0.9,
    top_k=40,
    min_p=0.1,
    max_tokens=50,
    seed=7,
    stop=["END"],
    repetition_penalty=1.1,
    presence_penalty=0.5,
    frequency_penalty=0.25,
    system="Be brief.",
    template_kwargs={"enable_thinking": False},
    keep_alive=60,
)


def chat(**fields: object) -> ChatRequest:
    messages = [{"role": "user", "content": "x"}]
    return msgspec.convert({"model": "m", "messages": messages} | fields, ChatRequest)


def test_a_preset_fills_what_is_open():
    """Every value of it reaches the request, and its system message comes first."""
    request = preset_chat(chat(), FULL)

    values = {name: getattr(request, name) for name in ("temperature", "top_p", "top_k", "min_p")}
    assert values == {"temperature": 0.2, "top_p": 0.9, "top_k": 40, "min_p": 0.1}
    assert (request.max_tokens, request.seed, request.stop) == (50, 7, ["END"])
    assert (request.repetition_penalty, request.presence_penalty) == (1.1, 0.5)
    assert (request.frequency_penalty, request.keep_alive) == (0.25, 60)
    assert request.chat_template_kwargs == {"enable_thinking": False}
    assert [(m.role, m.content) for m in request.messages] == [
        ("system", "Be brief."),
        ("user", "x"),
    ]


@pytest.mark.parametrize(
    "own",
    [
        {"temperature": 0},
        {"seed": 0},
        {"stop": "x"},
        {"max_completion_tokens": 1, "max_tokens": None},
        {"repeat_penalty": 1.5, "repetition_penalty": None},
        {"keep_alive": 0},
        {"messages": [{"role": "developer", "content": "Be long."}]},
    ],
)
def test_what_a_request_says_itself_stays(own):
    """Zero is said, too; and one thing said under another name is said."""
    asked = chat(**own)
    request = preset_chat(asked, FULL)

    for name in own:
        assert getattr(request, name) == getattr(asked, name)


@pytest.mark.parametrize(
    "own",
    [
        {"chat_template_kwargs": {"enable_thinking": True}},
        {"enable_thinking": True},
        {"reasoning_effort": "none"},
    ],
)
def test_a_switch_of_the_template_that_a_request_sets(own):
    """However it does."""
    request = preset_chat(chat(**own), FULL)

    assert (request.chat_template_kwargs or {}) == own.get("chat_template_kwargs", {})


def test_completions_have_no_messages():
    """The rest of a preset holds for them alike."""
    asked = msgspec.convert({"model": "m", "prompt": "x", "top_k": 1}, CompletionRequest)
    request = preset_completion(asked, FULL)

    assert (request.temperature, request.top_k, request.max_tokens) == (0.2, 1, 50)


def test_without_a_preset_nothing_changes():
    """A model asked for by its own name."""
    asked = chat()

    assert preset_chat(asked, None) is asked


def test_a_switch_that_no_template_has():
    """A typo stops the start; it would otherwise refuse every request."""
    preset = Preset(model="m", template_kwargs={"enable_thinkin": False})

    with pytest.raises(SettingsError, match=r"'terse'.*template_kwargs\.enable_thinkin"):
        check_presets(Settings(presets={"terse": preset}))
