"""Functions, which is what tools were called before there were several kinds and calls at once."""

from typing import Any

import msgspec

from gateway.errors import InvalidRequest
from gateway.openai.chat import ChatRequest, FunctionDefinition, NamedFunction


def with_tools(request: ChatRequest) -> ChatRequest:
    """The same with `tools` and `tool_choice` in place of `functions` and `function_call`.

    One call is made at most, since the old answer has room for no more. Raises `InvalidRequest` for a
    request that says both.
    """
    if request.functions is None and request.function_call in (None, "none", "auto"):
        return msgspec.structs.replace(request, function_call=None)
    if request.tools or request.tool_choice is not None:
        raise InvalidRequest("functions: not together with tools", "functions")
    if request.functions is None:
        raise InvalidRequest("function_call: only with functions", "function_call")
    return msgspec.structs.replace(
        request,
        tools=[_tool(function, f"functions[{n}]") for n, function in enumerate(request.functions)],
        tool_choice=_choice(request),
        parallel_tool_calls=False,
        functions=None,
        function_call=None,
    )


def _tool(function: dict[str, Any], path: str) -> dict[str, Any]:
    try:
        msgspec.convert(function, FunctionDefinition)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{path}: {error}", path) from None
    return {"type": "function", "function": function}


def _choice(request: ChatRequest) -> str | dict[str, Any] | None:
    wanted = request.function_call
    if not isinstance(wanted, NamedFunction):
        return wanted
    if all(function.get("name") != wanted.name for function in request.functions or ()):
        message = f"function_call: no function is called {wanted.name[:64]!r}"
        raise InvalidRequest(message, "function_call")
    return {"type": "function", "function": {"name": wanted.name}}
