"""After an upgrade: may the service be restarted? Exit status 75: not now, and it begins anew by itself once it may."""

import sys

if interlocked := ask("restart").get("interlocked"):
    print(f"site-gateway: {interlocked}: the version before watches on; the new one starts when that is over")
    sys.exit(75)
