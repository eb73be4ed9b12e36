"""Which of a repository's files make the model that was asked for. No I/O.

Only names of a closed list are ever chosen: weights as safetensors or GGUF, and the texts that
describe them. So neither pickles nor code are fetched, whatever a repository holds.
"""

from dataclasses import dataclass
from typing import Literal

from gateway.hub import gguf, safetensors
from gateway.hub.errors import HubError
from gateway.hub.files import RemoteFile
from gateway.hub.reference import Reference

SAFETENSORS = "safetensors"
DEFAULT_QUANTISATIONS = ("Q4_K_M", "Q8_0")
"""What llama.cpp takes as well where nobody says."""


@dataclass(frozen=True, slots=True)
class Plan:
    """marker: the file without which a scan sees no model; it lands last and leaves first."""

    kind: Literal["gguf", "safetensors"]
    files: tuple[RemoteFile, ...]
    marker: str

    @property
    def model_name(self) -> str:
        """The model's id within its repository's folder; empty for the folder itself."""
        return gguf.base_of(self.marker) if self.kind == "gguf" else ""


def plan(reference: Reference, files: tuple[RemoteFile, ...]) -> Plan:
    """Raises `HubError` when nothing fits, and says what there is."""
    models = gguf.models(files)
    folder = safetensors.choose(files)
    choice = reference.choice
    if choice is None:
        found = _default(models, folder)
    elif choice.casefold() == SAFETENSORS:
        found = _folder_plan(folder) if folder else None
    else:
        found = _chosen(reference, models)
    if not found:
        raise HubError("nothing_to_pull", _what_there_is(reference, files, models, folder))
    return found


def _default(models: list[gguf.GgufModel], folder: tuple[RemoteFile, ...]) -> Plan | None:
    for quantisation in DEFAULT_QUANTISATIONS:
        if len(matches := gguf.matching(models, quantisation)) == 1:
            return _gguf_plan(matches[0])
    if folder:
        return _folder_plan(folder)
    return _gguf_plan(models[0]) if len(models) == 1 else None


def _chosen(reference: Reference, models: list[gguf.GgufModel]) -> Plan | None:
    matches = gguf.matching(models, reference.choice or "")
    if len(matches) > 1:
        names = ", ".join(f"{reference.repo}:{model.parts[0].path}" for model in matches[:8])
        raise HubError("nothing_to_pull", f"{reference} could be any of {names}")
    return _gguf_plan(matches[0]) if matches else None


def _gguf_plan(model: gguf.GgufModel) -> Plan:
    return Plan("gguf", model.parts, model.parts[0].path)


def _folder_plan(files: tuple[RemoteFile, ...]) -> Plan:
    return Plan("safetensors", files, safetensors.CONFIG)


def _what_there_is(
    reference: Reference,
    files: tuple[RemoteFile, ...],
    models: list[gguf.GgufModel],
    folder: tuple[RemoteFile, ...],
) -> str:
    wanted = f"{reference.repo} has no {reference.choice}" if reference.choice else reference.repo
    choices = [model.tag or model.parts[0].path for model in models]
    choices += [SAFETENSORS] if folder else []
    if choices:
        shown = ", ".join(dict.fromkeys(choices[:24]))
        return f"{wanted}: ask for one of {shown}, as {reference.repo}:{choices[0]}"
    if any(file.path.endswith((".bin", ".pt", ".pth", ".pkl", ".ckpt")) for file in files):
        return f"{wanted}: its weights are pickles, which can run code and are never fetched"
    return f"{wanted}: there is neither a GGUF file nor safetensors with a config.json"
