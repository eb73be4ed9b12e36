"""Which upstream has which model, by our names of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from engine.api import ModelCard, Task
from gateway.catalog.models import KnownModel
from gateway.config import UpstreamSettings
from gateway.upstreams.wire import Listed

ALL = "*"
MAX_LISTED = 4096

ANY_SIZE = 2**31 - 1
"""Of what an upstream's model has, and only it knows: its own answer says what is too much."""

_TASKS = get_args(Task)


@dataclass(frozen=True)
class Target:
    """A model at an upstream, by its name there."""

    upstream: str
    model: str


@dataclass(frozen=True)
class Entry:
    """A model that upstreams serve. targets: in the order in which they are asked."""

    id: str
    targets: tuple[Target, ...]
    created: int
    context_length: int
    tasks: tuple[Task, ...]

    @property
    def known(self) -> KnownModel:
        card = ModelCard(
            path="",
            digest="",
            family="",
            format="safetensors",
            quantization="",
            num_parameters=0,
            file_bytes=0,
            context_length=self.context_length,
            vocab_size=ANY_SIZE,
            tasks=self.tasks,
            footprints=(),
            capabilities=("tools", "reasoning", "system", "fill"),
            embedding_size=ANY_SIZE,
            is_matryoshka=True,
        )
        return KnownModel(self.id, card, self.created, upstream=self.targets[0].upstream)


class Directory:
    """Of all upstreams, in their order. No I/O: `learn` is told what a list says."""

    def __init__(self, settings: Sequence[UpstreamSettings], created: int) -> None:
        """created: of models whose list does not say, in seconds since 1970."""
        self._settings = {each.name: each for each in settings}
        self._created = created
        self._listed: dict[str, Mapping[str, Listed]] = {}
        self._entries: dict[str, Entry] = {}
        self._settle()

    def reconfigure(self, settings: Sequence[UpstreamSettings]) -> None:
        """Other upstreams; what is known of those that stay as they were is kept."""
        before = self._settings
        self._settings = {each.name: each for each in settings}
        self._listed = {
            name: listed
            for name, listed in self._listed.items()
            if self._settings.get(name) == before[name]
        }
        self._settle()

    @property
    def discovering(self) -> list[str]:
        """Upstreams whose list says which models they have."""
        return [name for name, each in self._settings.items() if ALL in each.theirs.values()]

    @property
    def entries(self) -> list[Entry]:
        """By id."""
        return sorted(self._entries.values(), key=lambda entry: entry.id)

    def learn(self, upstream: str, listed: Sequence[Listed]) -> None:
        """All that it has now; the rest of a longer list is left out."""
        self._listed[upstream] = {model.id: model for model in listed[:MAX_LISTED]}
        self._settle()

    def find(self, name: str) -> Entry | None:
        """By our name of it, or by the upstream's and that; without regard to case."""
        if entry := self._entries.get(name.casefold()):
            return entry
        upstream, _, rest = name.partition("/")
        entry = self._entries.get(rest.casefold())
        found = (
            [t for t in entry.targets if t.upstream.casefold() == upstream.casefold()]
            if entry
            else []
        )
        return self._entry(name, found) if found else None

    def _settle(self) -> None:
        targets: dict[str, list[Target]] = {}
        names: dict[str, str] = {}
        for upstream, settings in self._settings.items():
            for ours, theirs in self._names(settings).items():
                names.setdefault(ours.casefold(), ours)
                targets.setdefault(ours.casefold(), []).append(Target(upstream, theirs))
        self._entries = {key: self._entry(names[key], found) for key, found in targets.items()}

    def _names(self, settings: UpstreamSettings) -> dict[str, str]:
        """Our name -> its. A name that is written out goes before one that is discovered."""
        found = {ours: theirs for ours, theirs in settings.theirs.items() if theirs != ALL}
        for ours, theirs in settings.theirs.items():
            for listed in self._listed.get(settings.name, {}) if theirs == ALL else ():
                if listed not in found.values():
                    found.setdefault(ours.replace(ALL, listed), listed)
        return found

    def _entry(self, name: str, targets: Sequence[Target]) -> Entry:
        first = targets[0]
        settings = self._settings[first.upstream]
        listed = self._listed.get(first.upstream, {}).get(first.model) or Listed(first.model)
        tasks = tuple(task for task in _TASKS if task in (listed.tasks or settings.tasks))
        said = listed.context_length or listed.max_model_len or listed.context_window
        return Entry(
            name,
            tuple(targets),
            int(listed.created or self._created),
            said or settings.context_length,
            tasks or tuple(settings.tasks),
        )
