"""GenAI's names (open-telemetry/semantic-conventions-genai, in development), and some of ours.

The language packages mark theirs as moved, so they are spelt here.
"""

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
MAX_TOKENS = "gen_ai.request.max_tokens"
CHOICES = "gen_ai.request.choice.count"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHED_TOKENS = "gen_ai.usage.cache_read.input_tokens"
KIND_OF_TOKENS = "gen_ai.token.type"
ERROR = "error.type"
REQUEST_ID = "roundhouse.request_id"
LOAD_TIER = "roundhouse.load.tier"

REQUEST_DURATION = "gen_ai.server.request.duration"
FIRST_AFTER = "gen_ai.server.time_to_first_token"
EACH_AFTER = "gen_ai.server.time_per_output_token"
USAGE = "gen_ai.client.token.usage"

SECONDS_BOUNDS = (
    *(0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28),
    *(2.56, 5.12, 10.24, 20.48, 40.96, 81.92),
)
TOKEN_BOUNDS = tuple(4.0**power for power in range(14))
