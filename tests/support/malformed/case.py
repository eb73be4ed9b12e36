"""A case, and whether it got the answer that is documented."""

import json
from dataclasses import dataclass

from raw_http import Answer, post

MODEL = "llama-plain-F32"
VOCABULARY = 1000
HI = [{"role": "user", "content": "hi"}]
BAD = "invalid_request_error"
GONE = 0
"""For the status of an answer that nobody waits for."""
TOO_LARGE = "request_too_large"

Body = dict[str, object]

COMPLETION: Body = {"model": MODEL, "prompt": "a", "max_tokens": 1}
CHAT: Body = {"model": MODEL, "messages": HI, "max_tokens": 1}
RESPONSE: Body = {"model": MODEL, "input": "hi", "max_output_tokens": 1, "store": False}
EMBEDDING: Body = {"model": MODEL, "input": "a"}
MESSAGE: Body = {"model": MODEL, "messages": HI, "max_tokens": 1}
OLLAMA: Body = {"model": MODEL, "messages": HI, "stream": False, "options": {"num_predict": 1}}
TOKENS: Body = {"model": MODEL, "content": "a"}

ROUTES: dict[str, Body] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": COMPLETION,
    "/v1/responses": RESPONSE,
    "/v1/embeddings": EMBEDDING,
    "/v1/messages": MESSAGE,
    "/api/chat": OLLAMA,
    "/tokenize": TOKENS,
}


def encoded(body: Body) -> bytes:
    return json.dumps(body).encode()


GOOD = post("/v1/completions", encoded(COMPLETION))


@dataclass(frozen=True)
class Case:
    """status: of the first answer. param: how it begins. ends: the client closes its side."""

    name: str
    path: str
    raw: bytes
    status: int = 400
    type: str = BAD
    code: str | None = None
    param: str | None = None
    ends: bool = False

    def mismatch(self, answers: list[Answer]) -> str:
        """What is wrong with the answers; empty for nothing."""
        if self.status == GONE:
            return "" if not answers else f"expected no answer, got {answers[0].status}"
        if not answers or answers[0].status != self.status:
            return f"expected {self.status}, got {[(a.status, a.body[:300]) for a in answers]}"
        if self.status < 400:
            return ""
        expected, found = self._expected(answers[0]), answers[0].body[:300].decode()
        return "" if expected else f"expected {self.type} {self.code} {self.param}, got {found}"

    def _expected(self, answer: Answer) -> bool:
        if answer.headers.get("content-type") != "application/json":
            return False
        if self.path.startswith("/api/"):
            return set(answer.json) == {"error"} and bool(answer.json["error"])
        if self.path.startswith("/v1/messages"):
            is_shaped = set(answer.json) == {"type", "error", "request_id"}
            return is_shaped and answer.json["error"]["type"] == self._anthropic_type
        error = answer.json["error"]
        return (
            set(error) == {"message", "type", "param", "code"}
            and (error["type"], error["code"]) == (self.type, self.code)
            and (error["param"] or "").startswith(self.param or "")
            and (error["param"] is None) == (self.param is None)
        )

    @property
    def _anthropic_type(self) -> str:
        names = {"model_not_found": "not_found_error", "request_too_large": "request_too_large"}
        return names.get(self.code or "", self.type)
