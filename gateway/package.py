"""The Debian package that this program runs from: its trees, and which version of the two runs.

`TREE` has the installed version, `PREVIOUS` the one that the last upgrade kept. Four small files say which of them is
to run (docs/upgrade.md); the launcher goes by them, before anything of the program is loaded:

note.json     root's, in PREVIOUS: {kept, lines, connected, trial}; what was kept, and what answered then
unpacking     root's, in PREVIOUS: the installed tree is not whole; becomes `upgrade` when another one is
upgrade       root's, in PREVIOUS: {id}; a random word for the upgrade that brought the installed version
upgrade.json  the service's, in its store: {version, upgrade, phase: trial | kept | back, starts, id,
              reason, schema}
"""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import __version__

TREE = "usr/lib/site-gateway"
PREVIOUS = "usr/lib/site-gateway-previous"
STATE = "var/lib/site-gateway/upgrade.json"

ON_TRIAL = "trial"
KEPT = "kept"
BACK = "back"
_MAX_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Package:
    """A package below `root` (of the machine: `/`); `running`: the tree that this process is of."""

    root: Path
    running: Path

    @property
    def is_previous(self) -> bool:
        """The version before runs, not the installed one."""
        return self.running != self.root / TREE

    @property
    def installed(self) -> str:
        """The version of the installed tree; empty if that is not whole."""
        try:
            return (self.root / TREE / "VERSION").read_text().strip()
        except (OSError, ValueError):
            return ""

    @property
    def state_file(self) -> Path:
        """Where the service notes what became of the installed version."""
        return self.root / STATE

    def note(self) -> Mapping[str, Any]:
        """What the last upgrade found."""
        return _read(self.root / PREVIOUS / "note.json")

    def upgrade(self) -> str | None:
        """Which upgrade brought the installed version: of the same version each has another."""
        return _read(self.root / PREVIOUS / "upgrade").get("id")

    def state(self) -> Mapping[str, Any]:
        """What became of the installed version; empty before its first start, and for who may not know."""
        return _read(self.state_file)

    def kept(self) -> Path | None:
        """The tree that an upgrade can go back to."""
        folder = self.root / PREVIOUS / str(self.note().get("kept"))
        return folder if (folder / "gateway").is_dir() else None

    def words(self) -> str:
        """The version that runs, and why it is not the installed one."""
        if not self.is_previous:
            hidden = self.kept() is not None and not os.access(self.state_file.parent, os.X_OK)
            return f"{__version__}, installed; root is told which version runs" if hidden else __version__
        if (self.root / PREVIOUS / "unpacking").exists():
            return f"{__version__}, while another version is not wholly unpacked"
        state = self.state()
        if state.get("phase") == BACK:
            return f"{__version__}, after {state.get('version')} was rolled back"
        return f"{__version__}, while {self.installed} cannot be tried"


def package(program: Path = Path(__file__).parents[1]) -> Package | None:
    """The package that the program in this folder is of; None in a checkout or an environment."""
    for depth, place in ((2, TREE), (3, f"{PREVIOUS}/{program.name}")):
        root = program.parents[depth] if len(program.parents) > depth else None
        if root is not None and program == root / place:
            return Package(root, program)
    return None


def schema_of(tree: Path) -> int:
    """The newest schema of a store that the version in this tree reads; 0 if it does not say."""
    try:
        return int((tree / "SCHEMA").read_text())
    except (OSError, ValueError):
        return 0


def version_words() -> str:
    """The version of this program, as it is told."""
    place = package()
    return __version__ if place is None else place.words()


def _read(path: Path) -> Mapping[str, Any]:
    """No pipe in the place of the file is waited for, no link is followed: the folder may be another account's."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            found = json.loads(file.read(_MAX_BYTES)) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
