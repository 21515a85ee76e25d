"""Tests that act as another account of this machine, or boot one: only root can, and CI is root."""

import os

import pytest

as_root = pytest.mark.skipif(
    os.getuid() != 0 and not os.environ.get("CI"),
    reason="only root becomes another account or boots a machine; CI runs as root and leaves none of them out",
)
