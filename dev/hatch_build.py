"""Part of the build of mlver: compiles the kernels into the wheel, if there is a compiler.

With kernels the wheel is for one platform; without, for all, and much slower.
"""

from __future__ import annotations

import importlib.util
import platform
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelBuildHook(BuildHookInterface[Any]):  # type: ignore[misc]  # hatchling is there in builds only
    """Compiles before a wheel, an editable one too, is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002, the interface's
        """Compile, and enter what was made into the wheel."""
        if self.target_name != "wheel":
            return
        kernel = _load_beside("kernel")
        try:
            made = kernel.compile_kernel()
        except kernel.NotCompiled as error:
            line = "!" * 80
            told = "The kernels were not compiled: mlver will work, but many times as slowly."
            print(line, told, error, line, sep="\n", file=sys.stderr)
            return
        root = Path(self.root)
        build_data["artifacts"] += [f"/{path.relative_to(root).as_posix()}" for path in made]
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform_tag()}"


def _load_beside(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _platform_tag() -> str:
    if sys.platform == "darwin":
        # The compiler makes code for this machine alone, whatever the interpreter is made for.
        return f"macosx_{'11_0' if platform.machine() == 'arm64' else '10_13'}_{platform.machine()}"
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")
