from pathlib import Path

import llama
import pytest
from cases import CASES
from llama import Options, Peer, batched_command, changes, search, single_command

PATH = Path("m.gguf")


@pytest.fixture(autouse=True)
def no_tools_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("llama-bench", "llama-batched-bench"):
        (tmp_path / name).touch()
    monkeypatch.setenv("LLAMA_CPP", str(tmp_path))


def said(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def test_prefill_decodes_nothing() -> None:
    """512 tokens of prompt, no token after them."""
    command = single_command(PATH, CASES["prefill"], Options())

    assert (said(command, "-p"), said(command, "-n"), said(command, "-d")) == ("512", "0", "0")


def test_decode_at_depth_counts_no_prompt() -> None:
    """The context is there before the clock starts."""
    command = single_command(PATH, CASES["decode-2048"], Options())

    assert (said(command, "-p"), said(command, "-n"), said(command, "-d")) == ("0", "32", "2048")


def test_batch_has_room_for_all_sequences() -> None:
    """16 sequences of 128 + 64 tokens."""
    command = batched_command(PATH, CASES["batch-16"], Options(threads=1, flash_attention=True))

    assert said(command, "-c") == str(16 * 192)
    assert (said(command, "-npl"), said(command, "-t"), said(command, "-fa")) == ("16", "1", "on")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_both_thread_counts_are_tried(case) -> None:
    """Beside a busy process one thread may beat two, so both are tried for every case."""
    tried: list[Options] = []

    def rate_of(options: Options) -> float:
        tried.append(options)
        return -float(len(tried))

    assert search(case, rate_of) == tried[0]
    assert {options.threads for options in tried} == {1, 2}
    assert {options.flash_attention for options in tried} == {False, True}
    assert len(set(tried)) == len(tried)


def test_each_option_is_kept_where_it_is_faster() -> None:
    """The search goes on from the best so far."""
    best = Options(1, flash_attention=False, micro_batch=128)

    def rate_of(options: Options) -> float:
        same = (options.threads == 1, not options.flash_attention, options.micro_batch == 128)
        return float(sum(same))

    assert search(CASES["batch-16"], rate_of) == best


def test_best_options_are_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fastest of the search is kept on disk, for each model and case."""
    measured: list[Options] = []

    def rate(path: Path, case, options: Options, num_repeats: int) -> float:
        measured.append(options)
        return 10.0 if options == Options(1, flash_attention=True) else 5.0

    monkeypatch.setattr(llama, "rate", rate)
    kept = tmp_path / "best.json"

    first = Peer(kept).options(PATH, CASES["decode"])
    again = Peer(kept).options(PATH, CASES["decode"])

    assert first == again == Options(1, flash_attention=True)
    assert len(measured) == 1 + len(changes(CASES["decode"]))
