"""The peer's job: `python benchmarks/oxen_add.py FOLDER FILE` initialises an Oxen repository, adds FILE and commits.

Only the compiled module of the `oxenai` package is loaded: importing the package takes another half second for
pandas and polars, which is not what we compare with. It keeps its configuration in $HOME, so give it one of its own.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


def load_oxen() -> ModuleType:
    """Load the compiled part of the package.

    Raises:
        ImportError: `oxenai` is not installed.
    """
    found = sorted(Path(sysconfig.get_paths()["platlib"], "oxen").glob("oxen_py*.so"))
    spec = spec_from_file_location("oxen_py", found[0]) if found else None
    if spec is None or spec.loader is None:
        raise ImportError("oxenai is not installed")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    """Do what the arguments say; without any, only tell whether there is an Oxen."""
    oxen = load_oxen()
    if len(sys.argv) == 1:
        return
    folder, file = map(Path, sys.argv[1:])
    oxen.user.config_user("A", "a@example.org", os.path.join(oxen.util.get_oxen_config_dir(), "user_config.toml"))
    os.chdir(folder)
    repository = oxen.PyRepo(str(folder))
    repository.init()
    repository.add(file)
    repository.commit("one")


if __name__ == "__main__":
    main()
