"""Import aiohttp without its client's CA certificates, which take 2 MiB.

While it is imported, `aiohttp.connector` reads every authority that the machine trusts. Only cameras are asked over
HTTPS with that client; serving the page does not need them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

_NONE = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""Where OpenSSL looks for authorities (SSL_CTX_set_default_verify_paths(3))."""


@contextmanager
def without_authorities(*, needed: bool) -> Iterator[None]:
    """Within this context no authority is found, unless `needed`. No other thread may make an SSL context meanwhile."""
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
