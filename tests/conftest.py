"""What all tests share."""

import os

from hypothesis import settings

# No deadline: the machine is shared. In CI the same examples each time, so that red means the change.
settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")
