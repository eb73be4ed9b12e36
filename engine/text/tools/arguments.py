"""Arguments that are written one by one, as the object that they make."""

import json
from collections.abc import Mapping
from typing import Any

from engine.text.tools import schema as schemas
from engine.text.tools.json_text import quoted
from engine.text.tools.reader import NotACallError, Parse, Reader


class Arguments:
    """The JSON object of one call, member by member."""

    def __init__(self, reader: Reader, schema: Mapping[str, Any]) -> None:
        self._reader = reader
        self._schema = schema
        self._separator = "{"

    def add(self, name: str, value: str) -> None:
        """value: JSON text."""
        self._reader.argue(f"{self._key(name)}{value}")

    def read(self, name: str, *closings: str, is_text: bool | None = None) -> Parse[None]:
        """Reads a bare value up to and with its closing; strings are passed on as they come.

        is_text: whether it is a string, None for what the tool's schema says.
        """
        schema = schemas.argument(self._schema, name)
        if is_text is False:
            schema = {"type": sorted(schemas.types(schema) - {"string"})}
        if not (schemas.is_text(schema) if is_text is None else is_text):
            self.add(name, schemas.as_json((yield from self._reader.until(*closings)), schema))
            return
        self._reader.argue(f'{self._key(name)}"')
        end = yield from self._reader.scan(
            lambda text: self._reader.argue(quoted(text)), *closings, drops_end=True
        )
        if end is None:
            raise NotACallError
        self._reader.argue('"')

    def close(self) -> None:
        self._reader.argue("{}" if self._separator == "{" else "}")

    def _key(self, name: str) -> str:
        separator, self._separator = self._separator, ", "
        return f"{separator}{json.dumps(name, ensure_ascii=False)}: "
