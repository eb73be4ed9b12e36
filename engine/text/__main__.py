"""`python -m engine.text --control-fd N`: the text process, which lives as long as its gateway."""

import os
from argparse import ArgumentParser

from engine.process import control_channel, live
from engine.text.library import Library
from engine.text.process import TextProcess
from engine.text.prompts import PromptReader
from engine.text.template import Renderer
from engine.wire import TextCommand


async def serve(control_fd: int) -> None:
    """Runs until the control channel ends."""
    channel = await control_channel(control_fd, TextCommand)
    renderer = Renderer()
    reader = PromptReader(Library(), renderer)
    try:
        await TextProcess(channel, reader).run()
    finally:
        reader.close()
        renderer.close()


if __name__ == "__main__":
    # Our batches hold one text each, so the library's thread pool would only be in the way.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    parser = ArgumentParser(prog="python -m engine.text", allow_abbrev=False)
    parser.add_argument("--control-fd", type=int, required=True)
    live(serve(parser.parse_args().control_fd))
