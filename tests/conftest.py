"""Settings for all tests."""

from hypothesis import settings

# How long an example takes says more of what else this machine does than of the code.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")
