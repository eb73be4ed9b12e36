from collections.abc import Mapping

from engine.api import Usage as EngineUsage
from gateway.openai.usage import CompletionTokensDetails, PromptTokensDetails, Usage


def total_usage(by_choice: Mapping[int, EngineUsage], n: int) -> Usage:
    """The request's usage. A prompt counts once, however many choices continue it."""
    first = [usage for index, usage in by_choice.items() if index % n == 0]
    prompt_tokens = sum(usage.prompt_tokens for usage in first)
    completion_tokens = sum(usage.completion_tokens for usage in by_choice.values())
    cached_tokens = sum(usage.cached_tokens for usage in first)
    return Usage(
        prompt_tokens,
        completion_tokens,
        prompt_tokens + completion_tokens,
        PromptTokensDetails(cached_tokens),
        _details(by_choice),
    )


def _details(by_choice: Mapping[int, EngineUsage]) -> CompletionTokensDetails:
    usages = by_choice.values()
    return CompletionTokensDetails(
        reasoning_tokens=sum(usage.reasoning_tokens for usage in usages),
        accepted_prediction_tokens=sum(usage.accepted_tokens for usage in usages),
        rejected_prediction_tokens=sum(usage.rejected_tokens for usage in usages),
    )
