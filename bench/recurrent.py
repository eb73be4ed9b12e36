"""Models whose layers keep a state, on the CPU against llama.cpp: the same files, alternately."""

from compare import main

MODELS = "mamba2-130m-bf16,rwkv7-190m-bf16"

if __name__ == "__main__":
    main(__doc__ or "", models=MODELS, cases="prefill,decode")
