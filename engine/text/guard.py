"""What clients write, kept from being read as what only a template may write.

A chat template joins its control tokens with the words of others into one text, where nobody can tell
`<|im_end|>` from `<|im_end|>` any more. So names of such tokens in those words get a mark within
before the template sees them; `Tokenizer.encode_guarded` reads around the marks, and leaves them out.
Words that spell no such name stay as they are, and templates see nothing unusual.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import msgspec

from engine.api import ChatPrompt
from engine.text.reasoning import detect_thinking
from engine.text.tokenizer import MARK, Tokenizer

_guards: "WeakKeyDictionary[Tokenizer, dict[str, Guard]]" = WeakKeyDictionary()


def guard_of(tokenizer: Tokenizer, template: str) -> "Guard":
    """The guard of a model's prompts by one of its templates. Made once, in linear time."""
    of_templates = _guards.setdefault(tokenizer, {})
    if template not in of_templates:
        of_templates[template] = Guard(tokenizer, template)
    return of_templates[template]


class Guard:
    """names: of special tokens, and of other tokens of their own that the template writes.

    The latter an assistant's words may spell, as they do when a client gives calls and thoughts back
    as text; templates look for these themselves.
    """

    def __init__(self, tokenizer: Tokenizer, template: str) -> None:
        special = tokenizer.special_names
        written = {
            name for name in tokenizer.added_names if not name.isspace() and name in template
        }
        thinking = detect_thinking(template)
        self.names = special | written
        self._of_others = _pattern(self.names)
        self._of_assistants = _pattern(special - set(thinking.markers if thinking else ()))

    def prompt(self, prompt: ChatPrompt) -> ChatPrompt:
        """The same with marks in whatever a client wrote."""
        return msgspec.structs.replace(
            prompt,
            messages=[self._message(message) for message in prompt.messages],
            tools=_marked(prompt.tools, self._of_others),
            template_kwargs=_marked(prompt.template_kwargs, self._of_others),
        )

    def words(self, text: str) -> str:
        """A client's text with marks in it."""
        marked: str = _marked(text, self._of_others)
        return marked

    def _message(self, message: dict[str, Any]) -> dict[str, Any]:
        is_assistant = message.get("role") == "assistant"
        pattern = self._of_assistants if is_assistant else self._of_others
        marked: dict[str, Any] = _marked(message, pattern)
        return marked


def without_marks(text: str) -> str:
    return text.replace(MARK, "")


def _marked(value: Any, pattern: re.Pattern[str] | None) -> Any:
    if pattern is None:
        return value
    if isinstance(value, str):
        return (
            pattern.sub(rf"\g<0>{MARK}", without_marks(value)) if pattern.search(value) else value
        )
    if isinstance(value, list):
        return [_marked(each, pattern) for each in value]
    if isinstance(value, Mapping):
        return {_marked(key, pattern): _marked(each, pattern) for key, each in value.items()}
    return value


def _pattern(names: Iterable[str]) -> re.Pattern[str] | None:
    """The first characters of all places where one of the names stands, of overlapping ones too."""
    trie: dict[str, Any] = {}
    for name in names:
        node = trie
        for character in name if len(name) > 1 else "":
            node = node.setdefault(character, {})
        node[""] = {}
    trie.pop("", None)
    if not trie:
        return None
    # Begins with a set of characters, which is looked for quickly.
    firsts = "".join(map(re.escape, trie))
    rests = "|".join(f"(?<={re.escape(each)})(?={_rest(trie[each])})" for each in trie)
    return re.compile(f"[{firsts}](?:{rests})")


def _rest(trie: dict[str, Any]) -> str:
    """A trie as an expression that tries nothing twice, since alternatives differ in a character.

    The shortest name that stands somewhere is enough, so nothing is looked for behind an end.
    """
    if "" in trie:
        return ""
    branches = [re.escape(each) + _rest(rest) for each, rest in trie.items()]
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"
