"""`site-gateway run SITE.yaml` that tells on stderr of each module which is loaded after READY."""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

import gateway.runtime.systemd as manager

LOADED = (__file__, "run")
LATE = "loaded after READY:"


class Watch:
    """Sees every module that is looked for, before it is."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """Tell of it; somebody else finds it."""
        sys.stderr.write(f"{LATE} {name}\n")
        return None


def watch_once_ready() -> None:
    """From READY on."""
    notify = manager.notify

    def ready(message: str) -> bool:
        handed = notify(message)
        if message == "READY=1":
            sys.meta_path.insert(0, Watch())
        return handed

    manager.notify = ready


if __name__ == "__main__":
    from gateway.cli import main

    watch_once_ready()
    main()
