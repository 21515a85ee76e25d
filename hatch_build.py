"""The wheel carries profiles and examples inside the package: an installed program has all it needs."""

import gzip
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DataHook(BuildHookInterface):  # type: ignore[type-arg]
    """config/profiles -> gateway/profiles, the rest of config -> gateway/examples; the page's files also gzipped.

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
        self._pack_page(root, build_data["force_include"])

    def _pack_page(self, root: Path, include: dict[str, str]) -> None:
        """Beside each file of the page what gzip makes of it, where that is smaller; the same bytes each time."""
        static, folder = root / "gateway/local/static", root / "build/static"
        for source in sorted(path for path in static.rglob("*") if path.is_file()):
            packed = gzip.compress(source.read_bytes(), 9, mtime=0)
            if len(packed) < source.stat().st_size:
                place = folder / f"{source.relative_to(static)}.gz"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(packed)
                include[str(place)] = f"gateway/local/static/{source.relative_to(static)}.gz"
