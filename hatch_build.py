"""The wheel carries profiles and examples inside the package: an installed program has all it needs."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DataHook(BuildHookInterface):  # type: ignore[type-arg]
    """config/profiles -> gateway/profiles, the rest of config -> gateway/examples.

    Not in an editable installation: there the program finds them in the checkout.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the files to a wheel that is being built."""
        if version != "standard":
            return
        root = Path(self.root)
        for source in sorted(path for path in (root / "config").rglob("*") if path.is_file()):
            name = source.relative_to(root / "config")
            target = Path("gateway") / (name if name.parts[0] == "profiles" else Path("examples") / name)
            build_data["force_include"][str(source)] = str(target)
