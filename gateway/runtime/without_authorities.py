"""Importing aiohttp without its client's certificates, which take 2 MiB.

`aiohttp.connector` reads every authority that the machine trusts while it is imported. Only cameras are asked over
HTTPS by that client; a page that is served needs none of it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_NONE = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""Where OpenSSL looks (SSL_CTX_set_default_verify_paths(3))."""


@contextmanager
def without_authorities(*, needed: bool) -> Iterator[None]:
    """While it lasts no authority is found, unless they are `needed`. No other thread may make a context meanwhile."""
    if needed:
        yield
        return
    before = {name: os.environ.get(name) for name in _NONE}
    os.environ.update(_NONE)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
