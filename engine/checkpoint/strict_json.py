import json
from typing import Any

from engine.checkpoint.source_file import SourceFile

_FLOATS = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}


def read_json_object(file: SourceFile, max_bytes: int) -> dict[str, Any]:
    """A JSON file's object. Raises `CheckpointError` for any other content."""
    if file.size > max_bytes:
        raise file.error(f"is {file.size} bytes long, limit {max_bytes}")
    file.refuse_foreign()
    return parse_object(file, file.read_at(0, file.size))


def parse_object(file: SourceFile, raw: bytes, offset: int = 0) -> dict[str, Any]:
    """Parses bytes that stand at `offset` in a file: an object with no key given twice.

    NaN and Infinity are taken, since published configs hold them ("time_step_limit": [0, Infinity]),
    and as transformers 5 writes them: {"__float__": "Infinity"}.
    """
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_unique)
        # A lone surrogate would fail later, wherever the text is first encoded.
        if b"\\ud" in raw.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise file.error(f"is not valid JSON: {error.msg}", offset + error.pos) from None
    except UnicodeDecodeError as error:
        raise file.error("has JSON that is not UTF-8", offset + error.start) from None
    except UnicodeEncodeError:
        raise file.error("has JSON with half of a surrogate pair", offset) from None
    except RecursionError:
        raise file.error("has JSON nested too deeply", offset) from None
    except ValueError as error:
        raise file.error(f"has JSON that is not accepted: {error}", offset) from None
    if not isinstance(value, dict):
        raise file.error("has JSON that is not an object", offset)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any] | float:
    match pairs:
        case [("__float__", str(word))] if word in _FLOATS:
            return _FLOATS[word]
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise ValueError(f"key {key!r} occurs twice")
        values[key] = value
    return values
