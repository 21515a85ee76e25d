"""What all tests share."""

import os
import signal

from hypothesis import settings

# No deadline: the machine is shared. In CI the same examples each time, so that red means the change.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

# A shell without job control (`make test &` in a script) has its children ignore SIGINT, and theirs inherit that. Tests
# stop programs by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
