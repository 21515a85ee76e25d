"""Tests that act as another account of this machine."""

import os

import pytest

as_root = pytest.mark.skipif(
    os.getuid() != 0 and not os.environ.get("CI"),
    reason="the kernel lets only root become another account; CI runs as root and leaves none of them out",
)
