"""What a response goes on from: the conversation before it, as the store has it."""

import msgspec
from msgspec import Struct

from gateway.errors import InvalidRequest, PreviousResponseNotFound
from gateway.keys import visit
from gateway.openai.responses import InputItem, ResponseRequest
from gateway.store import Kept, ResponseStore
from gateway.translate.responses_input import read_items


class _Response(Struct):
    output: list[InputItem]


_items = msgspec.json.Decoder(list[InputItem])
_response = msgspec.json.Decoder(_Response)


def items_of(kept: Kept) -> list[InputItem]:
    """What was asked."""
    return _items.decode(kept.items)


async def own_items(store: ResponseStore, request: ResponseRequest) -> list[InputItem]:
    """The request's items. One that is only named is looked up; raises if it is not there."""
    items = read_items(request.input)
    for n, item in enumerate(items):
        if item.type == "item_reference":
            items[n] = await _find_item(store, item.id or "", f"input[{n}].id")
    return items


async def past_items(store: ResponseStore, request: ResponseRequest) -> list[InputItem]:
    """What was asked and answered before, from the first response on."""
    if request.previous_response_id is None:
        return []
    chain = await store.chain(request.previous_response_id, visit().key.id)
    if chain is None:
        raise PreviousResponseNotFound(request.previous_response_id)
    return [item for kept in chain for item in _all_items(kept)]


async def _find_item(store: ResponseStore, item_id: str, param: str) -> InputItem:
    kept = await store.holder(item_id, visit().key.id)
    for item in _all_items(kept) if kept else ():
        if item.id == item_id:
            return item
    raise InvalidRequest(f"{param}: no item {item_id[:80]!r} is kept here", param)


def _all_items(kept: Kept) -> list[InputItem]:
    return [*items_of(kept), *_response.decode(kept.response).output]
