"""Several calls in a section, each behind the same marker."""

from collections.abc import Callable

from engine.text.tools.reader import Parse, Reader


def read_section(
    reader: Reader,
    read_call: Callable[[Reader], Parse[None]],
    call: str,
    closing: str,
    *,
    is_in: bool,
) -> Parse[None]:
    """Calls up to and with `closing`; to the end of the text where it is empty.

    read_call: reads what follows the marker `call`. is_in: the first marker was taken already.
    Raises `NotACallError`.
    """
    if not is_in:
        yield from reader.space()
        yield from reader.expect(call)
    while True:
        yield from read_call(reader)
        reader.keep()
        yield from reader.space()
        if closing and (yield from reader.accept(closing)):
            return
        yield from reader.expect(call)
