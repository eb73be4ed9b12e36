"""Which checkpoint a client's name means. Names are looked up in tables, never made into paths."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from gateway.catalog.scan import Found
from gateway.config import Preset
from gateway.errors import ModelNotFound
from gateway.hub.gguf import tag_of


def settle_ids(found: Iterable[Found]) -> dict[str, Found]:
    """One id for each checkpoint: its short one, or the long one where another has the short one.

    Who comes first in the order of stores has the short one; of one store a folder, since it has no
    longer one to be known by. Where a store's long one is taken too, its name stands before it.
    """
    found = list(found)
    order = list(dict.fromkeys(checkpoint.source for checkpoint in found))
    ids: dict[str, Found] = {}
    for checkpoint in sorted(found, key=lambda c: _precedence(c, order)):
        candidates = (
            checkpoint.id,
            checkpoint.long_id,
            f"{checkpoint.source}/{checkpoint.long_id}",
        )
        model_id = next((c for c in candidates if c not in ids), None)
        if model_id is not None:  # a second folder of one store, with the very same files
            ids[model_id] = checkpoint
    return dict(sorted(ids.items()))


def _precedence(checkpoint: Found, order: Sequence[str]) -> tuple[int, bool, str]:
    is_file = not checkpoint.long_id.endswith("/")
    return order.index(checkpoint.source), is_file, checkpoint.long_id


def presets_of(ids: Mapping[str, Found]) -> dict[str, Preset]:
    """What stores say of their models, by the ids that these came to have.

    A name that a model has already stays that model's.
    """
    presets: dict[str, Preset] = {}
    for model_id, found in ids.items():
        for name, preset in found.presets:
            own = model_id if name == found.id else name
            if own == model_id or own not in ids:
                presets[own] = msgspec.structs.replace(preset, model=model_id)
    return presets


class Names:
    """Ids, long ids, unique last components, tags and aliases, all without regard to case.

    Of an id with a tag, as `org/name:Q4_K_M`, what is before the tag serves as well if it is unique;
    and a file that names its quantisation is a tag of its folder.
    Where names collide the one written exactly so wins; otherwise the better kind wins, in the
    order above. A name that still means several models means none.
    """

    def __init__(self, ids: Mapping[str, Found], aliases: Mapping[str, str]) -> None:
        self._exact = set(ids)
        self._kinds: tuple[dict[str, set[str]], ...] = (
            _table((model_id, model_id) for model_id in ids),
            _table((found.long_id.rstrip("/"), model_id) for model_id, found in ids.items()),
            _table((model_id.rsplit("/", 1)[-1], model_id) for model_id in ids),
            _table(_tagged(ids)),
        )
        self._aliases = {alias.casefold(): target for alias, target in aliases.items()}

    def find(self, name: str) -> str:
        """The model's id. Raises `ModelNotFound`. An alias leads to an id, not to another alias."""
        try:
            return self._find(name)
        except ModelNotFound:
            target = self._aliases.get(name.casefold())
            if target is None:
                raise
            return self._find(target)

    def _find(self, name: str) -> str:
        if name in self._exact:
            return name
        for kind in self._kinds:
            matches = kind.get(name.casefold(), set())
            if len(matches) == 1:
                return next(iter(matches))
            if matches:
                raise ModelNotFound(name, sorted(matches))
        raise ModelNotFound(name)


def _tagged(ids: Iterable[str]) -> Iterator[tuple[str, str]]:
    """`org/name:Q4_K_M`, `name:Q4_K_M`, `org/name` and `name`, each with its id."""
    for model_id in ids:
        repo, _, tag = model_id.rpartition(":")
        if not repo and (tag := tag_of(model_id.rsplit("/", 1)[-1])):
            repo = model_id.rpartition("/")[0]  # a file in the folder of its repository
        if repo:
            last = repo.rsplit("/", 1)[-1]
            yield from ((name, model_id) for name in (f"{repo}:{tag}", f"{last}:{tag}", repo, last))


def _table(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    table: dict[str, set[str]] = defaultdict(set)
    for name, model_id in pairs:
        table[name.casefold()].add(model_id)
    return dict(table)
