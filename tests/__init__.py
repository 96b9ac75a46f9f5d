"""
The tests of txholepunch.

Hypothesis tries other examples at each run, but in CI (C{CI} in the environment) always the same: a
failure there must be that of the change under test.
"""

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")
