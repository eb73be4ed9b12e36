import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import engine as engine_package
from engine.api import ChatPrompt, EngineError
from engine.checkpoint import open_checkpoint
from engine.text.template import MAX_TEMPLATE_BYTES, Renderer, find_templates, has_chat_template

USER = {"role": "user", "content": "hi <there> & 'you'"}
SYSTEM = {"role": "system", "content": "be brief"}
PLAIN = "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"


@pytest.fixture(scope="module")
def renderer() -> Iterator[Renderer]:
    renderer = Renderer(deadline_seconds=1)
    yield renderer
    renderer.close()


@pytest.fixture
def render(renderer):
    """Renders one template, given as text."""

    async def render(template: str, *messages: dict, **prompt: object) -> str:
        chat = ChatPrompt(list(messages) or [USER], **prompt)
        return await renderer.render({"default": template}, chat, bos_token="<s>", eos_token="</s>")

    return render


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (PLAIN, "[user]hi <there> & 'you'"),
        (
            "{{ bos_token }}{{ messages[0]['content'][::-1] }}{{ eos_token }}",
            "<s>'uoy' & >ereht< ih</s>",
        ),
        ("{{ messages | tojson }}", json.dumps([USER])),
        ("{{ {'ä': 1} | tojson(indent=1) }}", '{\n "ä": 1\n}'),
        ("{% if tools is none %}none{% endif %}", "none"),
        ("{% if x %}\nA\n    {% endif %}\nB", "B"),
        ("{% generation %}said{% endgeneration %}", "said"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{% set n = namespace(a=1) %}{% set n.a = 2 %}{{ n.a }}", "2"),
        ("{{ strftime_now('%Y') | length }}", "4"),
        ("{{ add_generation_prompt }}{{ thinking | default('unset') }}", "Trueunset"),
    ],
)
async def test_templates_see_what_transformers_shows_them(render, template, expected):
    """Filters, tags, globals and white space are those that published templates rely on."""
    assert await render(template) == expected


async def test_template_kwargs_are_seen_but_replace_nothing(render):
    """A request may set a template's own switches, not the conversation."""
    template = "{{ thinking }} {{ messages | length }} {{ bos_token }}"

    text = await render(template, template_kwargs={"thinking": 1, "messages": [], "bos_token": "x"})

    assert text == "1 1 <s>"


async def test_tools_choose_their_own_template(renderer):
    """A checkpoint with a `tool_use` template has it used when there are tools."""
    templates = {"default": "plain", "tool_use": "{{ tools[0].name }}"}
    tools = [{"name": "clock"}]

    with_tools = await renderer.render(
        templates, ChatPrompt([USER], tools), bos_token="", eos_token=""
    )
    without = await renderer.render(templates, ChatPrompt([USER]), bos_token="", eos_token="")

    assert (with_tools, without) == ("clock", "plain")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ raise_exception('long ' * 99999) }}", "long long"),
        ("{{ messages[7].content }}", "has no element 7"),
        ("{% if %}", "Expected an expression"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("{% include 'secrets' %}", "no loader"),
        ("x" * (MAX_TEMPLATE_BYTES + 1), "longer than"),
    ],
)
async def test_a_failing_template_is_quoted(render, template, words):
    """The error has the template's own words, and nothing of our stack."""
    with pytest.raises(EngineError) as caught:
        await render(template)

    assert caught.value.code == "template_failed"
    assert words in caught.value.message
    assert "Traceback" not in caught.value.message
    assert len(caught.value.message) < 1200
    assert "/" not in caught.value.message


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'a' * 10**9 }}",
        "{{ 'a' * 10**8 }}",
        "{{ '%999999999d' | format(1) }}",
        "{{ 'a'.center(10**9) }}",
        "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}",
        "{% for i in range(99999) %}{{ 'a' * 99999 }}{% endfor %}",
        "{{ 10 ** (10 ** 8) }}",
        "{% set n = namespace(s='a') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
        "{{ lipsum(n=100000) }}",
        "{{ range(10**9) | list }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ raise_exception.__globals__['json'] }}",
        "{{ (messages | attr('__class__')).__mro__ }}",
        "{{ '{0.__class__}'.format(messages) + messages.append }}",
        "{{ messages.append(1) }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)
async def test_a_hostile_template_hurts_only_itself(render, template):
    """Time, memory, output and our objects are out of reach, and the next render works."""
    with pytest.raises(EngineError) as caught:
        await render(template)

    assert caught.value.code == "template_failed"
    assert await render(PLAIN) == "[user]hi <there> & 'you'"


async def test_a_template_that_hangs_holds_up_no_other_for_long(renderer):
    """Once it was stopped, it is alone with others like it."""
    endless = {
        "default": "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}"
    }
    names = {"bos_token": "", "eos_token": ""}
    with pytest.raises(EngineError, match=r"longer than|processor time"):
        await renderer.render(endless, ChatPrompt([USER]), **names)
    hanging = asyncio.create_task(renderer.render(endless, ChatPrompt([USER]), **names))
    await asyncio.sleep(0)  # it has asked

    rendered = await renderer.render({"default": PLAIN}, ChatPrompt([USER]), **names)

    assert rendered == "[user]hi <there> & 'you'"
    assert not hanging.done()
    hanging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hanging


async def test_messages_cannot_be_changed_by_a_template(render):
    """A template gets copies."""
    messages = [dict(USER)]

    with pytest.raises(EngineError):
        await render("{{ messages[0].update(content='x') }}", *messages)

    assert messages == [USER]


async def test_a_refused_system_message_goes_into_the_user_turn(render):
    """Families that know no system role still hear it."""
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}" + PLAIN
    )

    assert await render(template, SYSTEM, USER) == "[user]be brief\n\nhi <there> & 'you'"


async def test_late_system_messages_are_moved_to_the_front(render):
    """Families that allow a system message only at the start get it there."""
    template = (
        "{% for m in messages %}{% if m.role == 'system' and not loop.first %}"
        "{{ raise_exception('system must come first') }}{% endif %}{% endfor %}" + PLAIN
    )

    assert await render(template, USER, SYSTEM) == "[system]be brief[user]hi <there> & 'you'"


async def test_the_first_refusal_is_the_one_told(render):
    """When no arrangement helps, the user reads what the template said of theirs."""
    template = "{{ raise_exception('refused ' ~ messages[0].role) }}"

    with pytest.raises(EngineError, match="refused system"):
        await render(template, SYSTEM, USER)


async def test_no_template_is_said_clearly(renderer):
    """A model without one completes only."""
    with pytest.raises(EngineError) as caught:
        await renderer.render({}, ChatPrompt([USER]), bos_token="", eos_token="")

    assert caught.value.code == "no_chat_template"


def test_the_sandboxed_environment_is_made_in_one_place():
    """No other module may construct a Jinja environment or template."""
    engine = Path(engine_package.__file__).parent
    makers = ("Environment(", "jinja2.Template(", "Template(")

    found = [
        path.name
        for path in engine.rglob("*.py")
        if any(maker in path.read_text() for maker in makers)
    ]

    assert found == ["render.py"]


# --- where templates come from --------------------------------------------------------------------


@pytest.fixture
def folder(family_folder, tmp_path) -> Path:
    """A safetensors checkpoint whose text files may be changed."""
    for file in (family_folder("llama-bf16") / "hf").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def set_template(folder: Path, template: object) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": template}))


def test_the_configured_template_comes_first(folder):
    """An operator's template replaces whatever the file has."""
    assert find_templates(open_checkpoint(folder), "mine") == {"default": "mine"}


def test_a_file_of_its_own_wins_over_the_field(folder):
    """`chat_template.jinja` is the newer form."""
    set_template(folder, "field")
    assert find_templates(open_checkpoint(folder)) == {"default": "field"}

    (folder / "chat_template.jinja").write_text("file")
    assert find_templates(open_checkpoint(folder)) == {"default": "file"}


def test_named_templates_are_read(folder):
    """A list of templates is known by its names; the first stands in for a default."""
    entries = [{"name": "tool_use", "template": "t"}, {"name": "rag", "template": "r"}, {"bad": 1}]
    set_template(folder, entries)

    assert find_templates(open_checkpoint(folder)) == {"default": "t", "tool_use": "t", "rag": "r"}


def test_a_gguf_has_its_template_in_its_metadata(family_folder):
    """From a GGUF's own key."""
    path = family_folder("llama-plain") / "llama-plain-F32.gguf"
    checkpoint = open_checkpoint(path)

    assert "[INST]" in find_templates(checkpoint)["default"]
    assert has_chat_template(checkpoint)


def test_a_checkpoint_without_a_template_has_none(folder):
    """Nothing is invented for a model that was not tuned to chat."""
    set_template(folder, None)

    assert find_templates(open_checkpoint(folder)) == {}
    assert not has_chat_template(open_checkpoint(folder))
