"""Decode, prefill and batches on the CPU against llama.cpp: the same files, alternately."""

from cases import CASES
from compare import main

MODELS = "smollm2,gemma,1b-q4_k_m,1b-q4_0,1b-q8_0,1b-bf16,moe-q4_k_m"

if __name__ == "__main__":
    main(__doc__ or "", models=MODELS, cases=",".join(CASES))
