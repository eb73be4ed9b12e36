"""What a response says of the request that it answers."""

from typing import Any

from gateway.openai.responses import Reasoning, ResponseRequest, TextConfig, TextFormat
from gateway.openai.responses_reply import ReasoningShown, Response


def opening(request: ResponseRequest, response_id: str, created_at: int) -> Response:
    """The response before anything is said. Model and sampling are as asked for until they are known."""
    reasoning = request.reasoning or Reasoning()
    return Response(
        id=response_id,
        created_at=created_at,
        status="in_progress",
        background=request.background or False,
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        max_tool_calls=request.max_tool_calls,
        metadata=request.metadata or {},
        model=request.model,
        parallel_tool_calls=request.parallel_tool_calls is not False,
        previous_response_id=request.previous_response_id,
        prompt_cache_key=request.prompt_cache_key,
        reasoning=ReasoningShown(reasoning.effort, reasoning.summary or reasoning.generate_summary),
        safety_identifier=request.safety_identifier,
        store=request.store is not False,
        temperature=1.0 if request.temperature is None else request.temperature,
        text=_shown_text(request.text or TextConfig()),
        tool_choice=request.tool_choice or "auto",
        tools=[_shown_tool(t) for t in request.tools or [] if t.get("type") == "function"],
        top_logprobs=request.top_logprobs or 0,
        top_p=1.0 if request.top_p is None else request.top_p,
        user=request.user,
    )


def _shown_text(text: TextConfig) -> dict[str, Any]:
    shown = text.format or TextFormat()
    if shown.type != "json_schema":
        return {"format": {"type": shown.type}}
    schema = {
        "type": shown.type,
        "name": shown.name or "response",
        "description": shown.description,
        "schema": shown.json_schema,
        "strict": shown.strict or False,
    }
    return {"format": schema}


def _shown_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """With the keys that strict clients want."""
    return {"description": None, "parameters": None, "strict": False} | tool
