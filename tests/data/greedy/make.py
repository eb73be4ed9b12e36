"""Records what the demo models say, greedily and in float32, according to transformers.

    pip install accelerate              # transformers wants it to read GGUF; nothing else does
    python tests/data/greedy/make.py models/

Outside our code from end to end: transformers reads the GGUF with gguf-py, dequantises it to
float32, tokenizes and renders with its own tokenizers and templates, and runs its own model with
eager attention. No KV cache: each token comes from a whole forward pass over all before it. The
64 tokens run past an end-of-sequence token, should one come.

`margins` holds, per step, the best logit minus the second best: where it is near zero, two right
implementations may differ; at the smallest recorded one they must not.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
import transformers

NUM_TOKENS = 64
QUESTION = "What is the capital of France?"

PLANS: dict[str, dict[str, Any]] = {
    "smollm2": {
        "model": "SmolLM2-135M-Instruct-Q4_1",
        "prompts": [
            {"name": "chat", "messages": [{"role": "user", "content": QUESTION}]},
            {"name": "code", "text": "def fibonacci(n):\n    if n < 2:\n        return"},
            {"name": "german", "text": "Die Hauptstadt von Österreich ist"},
        ],
    },
    "gemma3-270m": {
        "model": "gemma-3-270m-Q4_K_M",
        "prompts": [
            {"name": "question", "text": f"User: {QUESTION}\nAssistant:"},
            {"name": "code", "text": "def fibonacci(n):\n    if n < 2:\n        return"},
            {"name": "russian", "text": "Столица России —"},
        ],
    },
}


def main(models: Path) -> None:
    torch.set_grad_enabled(False)
    for name, plan in PLANS.items():
        source = {"pretrained_model_name_or_path": models, "gguf_file": f"{plan['model']}.gguf"}
        tokenizer = transformers.AutoTokenizer.from_pretrained(**source)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            **source, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        record = {
            "model": plan["model"],
            "made_with": {"transformers": transformers.__version__, "torch": torch.__version__},
            "cases": [record_case(prompt, tokenizer, model) for prompt in plan["prompts"]],
        }
        target = Path(__file__).parent / f"{name}.json"
        target.write_text(dumps(record))


def record_case(prompt: dict[str, Any], tokenizer: Any, model: Any) -> dict[str, Any]:
    prompt_ids = tokenize(prompt, tokenizer)
    token_ids, margins = greedy(prompt_ids, model)
    return {
        **prompt,
        "prompt_ids": prompt_ids,
        "greedy": token_ids,
        "margins": [round(margin, 4) for margin in margins],
        "completion": tokenizer.decode(token_ids),
    }


def tokenize(prompt: dict[str, Any], tokenizer: Any) -> list[int]:
    if "text" in prompt:
        return tokenizer(prompt["text"]).input_ids
    text = tokenizer.apply_chat_template(
        prompt["messages"], add_generation_prompt=True, tokenize=False
    )
    return tokenizer(text, add_special_tokens=False).input_ids


def greedy(prompt_ids: list[int], model: Any) -> tuple[list[int], list[float]]:
    ids, margins = list(prompt_ids), []
    for _ in range(NUM_TOKENS):
        logits = model(torch.tensor([ids]), use_cache=False, logits_to_keep=1).logits[0, -1]
        best, second = logits.topk(2).values.tolist()
        margins.append(best - second)
        ids.append(int(logits.argmax()))
    return ids[len(prompt_ids) :], margins


def dumps(record: dict[str, Any]) -> str:
    """JSON with a list of ids on one line: two thousand lines of one number tell nobody more."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    numbers = re.compile(r"\[\s+([-\d.,\s]+?)\s+\]")
    return numbers.sub(lambda found: f"[{' '.join(found[1].split())}]", text) + "\n"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
