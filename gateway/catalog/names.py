"""Which checkpoint a client's name means. Names are looked up in tables, never made into paths."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from gateway.catalog.scan import Found
from gateway.errors import ModelNotFound


def settle_ids(found: Iterable[Found]) -> dict[str, Found]:
    """One id for each checkpoint: its short one, or the long one where another has the short one.

    A folder keeps the short id before a file, since it has no longer one to be known by.
    """
    ids: dict[str, Found] = {}
    for checkpoint in sorted(found, key=lambda c: (not c.long_id.endswith("/"), c.long_id)):
        model_id = checkpoint.long_id if checkpoint.id in ids else checkpoint.id
        ids[model_id] = checkpoint
    return dict(sorted(ids.items()))


class Names:
    """Ids, long ids, unique last components and aliases, all without regard to case.

    Where names collide the one written exactly so wins; otherwise the better kind wins, in the
    order above. A name that still means several models means none.
    """

    def __init__(self, ids: Mapping[str, Found], aliases: Mapping[str, str]) -> None:
        self._exact = set(ids)
        self._kinds: tuple[dict[str, set[str]], ...] = (
            _table((model_id, model_id) for model_id in ids),
            _table((found.long_id.rstrip("/"), model_id) for model_id, found in ids.items()),
            _table((model_id.rsplit("/", 1)[-1], model_id) for model_id in ids),
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


def _table(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    table: dict[str, set[str]] = defaultdict(set)
    for name, model_id in pairs:
        table[name.casefold()].add(model_id)
    return dict(table)
