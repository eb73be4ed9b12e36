"""Triton kernels compiled for GPUs that need not be there, and what the machine code says.

    python tests/support/offline_builds.py MODULE_FILE [NAME ...]

prints a table of the builds that a file declares as BUILDS; exits with 1 where one is not as it should
be. A process of its own: where kernels are interpreted they can't be compiled.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

ARCHITECTURES = (80, 90)
SHARED_LIMIT = {80: 163 * 1024, 90: 227 * 1024}


@dataclass(frozen=True)
class Build:
    """A kernel with the types of its arguments, as a launch would have them.

    signature: by argument, "*bf16", "i32", "fp32", ...; constants by `constants`, which may be left
    out of it. aligned: arguments that are multiples of 16, as pointers and strides are (all pointers by
    default). vector_loads: the code must load 16 bytes at once. tensor_cores: it must use them.
    quick: compiled in the default test run, too.
    """

    name: str
    kernel: Any
    signature: Mapping[str, str]
    constants: Mapping[str, Any] = field(default_factory=dict)
    aligned: tuple[str, ...] | None = None
    num_warps: int = 4
    num_stages: int = 3
    max_registers: int = 255
    vector_loads: bool = True
    tensor_cores: bool = False
    quick: bool = False
    architectures: tuple[int, ...] = ARCHITECTURES


@dataclass(frozen=True)
class Built:
    architecture: int
    registers: int
    stack_bytes: int
    shared_bytes: int
    vector_loads: int
    byte_loads: int
    tensor_core_ops: int

    def faults(self, build: Build) -> list[str]:
        """What is not as it should be."""
        found = []
        if self.registers > build.max_registers:
            found.append(f"{self.registers} registers, not {build.max_registers}")
        if self.stack_bytes:
            found.append(f"{self.stack_bytes} bytes spilled")
        if self.shared_bytes > SHARED_LIMIT[self.architecture]:
            found.append(f"{self.shared_bytes} bytes of shared memory")
        if build.vector_loads and not self.vector_loads:
            found.append("no load of 16 bytes")
        if build.tensor_cores and not self.tensor_core_ops:
            found.append("no tensor cores")
        return found


def compile_build(build: Build, architecture: int) -> Built:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = build.kernel.arg_names
    signature = {
        name: "constexpr" if name in build.constants else build.signature[name] for name in names
    }
    constants = {(names.index(name),): value for name, value in build.constants.items()}
    pointers = [name for name, kind in build.signature.items() if kind.startswith("*")]
    aligned = build.aligned if build.aligned is not None else tuple(pointers)
    attrs = {(names.index(name),): [["tt.divisibility", 16]] for name in (*pointers, *aligned)}
    source = ASTSource(build.kernel, signature, constants, attrs)
    options = {"num_warps": build.num_warps, "num_stages": build.num_stages}
    target = GPUTarget("cuda", architecture, 32)
    compiled = triton.compile(source, target=target, options=options)
    return _inspected(compiled.asm["cubin"], architecture, compiled.metadata.shared)


def _inspected(cubin: bytes, architecture: int, shared_bytes: int) -> Built:
    import triton

    tools = Path(triton.__file__).parent / "backends/nvidia/bin"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = _run(tools / "cuobjdump", "-res-usage", file.name)
        code = _run(tools / "cuobjdump", "-sass", file.name)
    return Built(
        architecture,
        registers=max(map(int, re.findall(r"REG:(\d+)", usage)), default=0),
        stack_bytes=max(map(int, re.findall(r"STACK:(\d+)", usage)), default=0),
        shared_bytes=shared_bytes,
        vector_loads=len(re.findall(r"LDG\.E[.\w]*\.128|LDGSTS[.\w]*\.128|UBLKCP|UTMALDG", code)),
        byte_loads=len(re.findall(r"LDG\.E[.\w]*\.[US]8", code)),
        tensor_core_ops=len(re.findall(r"\b(?:HGMMA|QGMMA|IGMMA|HMMA|IMMA|QMMA)\b", code)),
    )


def _run(*command: Path | str) -> str:
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def builds_of(path: Path) -> list[Build]:
    spec = spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.BUILDS)


def main(path: str, *names: str) -> int:
    """names: of the builds; "quick" for those that are."""
    wrong = 0
    for build in builds_of(Path(path)):
        if names and build.name not in names and not (build.quick and "quick" in names):
            continue
        for architecture in build.architectures:
            built = compile_build(build, architecture)
            faults = built.faults(build)
            wrong += bool(faults)
            print(
                f"{build.name:36} sm_{architecture} {built.registers:4} registers "
                f"{built.shared_bytes:7} shared {built.vector_loads:4} wide {built.byte_loads:4} "
                f"byte loads {built.tensor_core_ops:4} tensor core ops  {'; '.join(faults)}",
                flush=True,
            )
    return 1 if wrong else 0


if __name__ == "__main__":
    assert os.environ.get("TRITON_INTERPRET") in {None, "", "0"}, (
        "interpreted kernels can't be compiled"
    )
    sys.modules["offline_builds"] = sys.modules["__main__"]
    raise SystemExit(main(*sys.argv[1:]))
