"""Lists that are read page by page, as OpenAI's are."""

from collections.abc import Mapping

from gateway.errors import InvalidRequest
from gateway.openai.responses import InputItem
from gateway.openai.responses_reply import InputItemList
from gateway.openapi.operation import Parameter

DEFAULT_LIMIT = 20
MAX_LIMIT = 100

PARAMETERS = (
    Parameter(
        "limit",
        "query",
        "How many at most.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    Parameter("order", "query", "By time.", {"enum": ["asc", "desc"], "default": "desc"}),
    Parameter("after", "query", "The id of the last item that is known.", {"type": "string"}),
)
"""What `read_page` looks for in a query."""


def read_page(items: list[InputItem], query: Mapping[str, str]) -> InputItemList:
    """The items after the one that `after` names, in the order of `order`, at most `limit`."""
    limit, order = _read_limit(query), query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise InvalidRequest("order: asc or desc is wanted", "order")
    ordered = items if order == "asc" else items[::-1]
    rest = ordered[_place_after(ordered, query.get("after")) :]
    page = rest[:limit]
    first, last = (page[0].id, page[-1].id) if page else (None, None)
    return InputItemList(page, first, last, has_more=len(rest) > limit)


def _read_limit(query: Mapping[str, str]) -> int:
    value = query.get("limit", str(DEFAULT_LIMIT))
    if not value.isdecimal() or not 1 <= int(value) <= MAX_LIMIT:
        raise InvalidRequest(f"limit: 1 to {MAX_LIMIT}, got {value[:20]!r}", "limit")
    return int(value)


def _place_after(items: list[InputItem], item_id: str | None) -> int:
    if not item_id:
        return 0
    for place, item in enumerate(items):
        if item.id == item_id:
            return place + 1
    raise InvalidRequest(f"after: there is no item {item_id[:80]!r}", "after")
