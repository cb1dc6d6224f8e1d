"""Everything that can go wrong for a person, as one tree.

    StylizerError             exit  code
    ├── ConfigError            2    config       a setting or an option is not usable
    ├── InputError             3    input        a clip or picture is not usable
    │   └── StyleError         3    style        a style picture or checkpoint is not usable
    ├── StoreError             1    store        the job store cannot be read or written
    ├── OutputError            1    output       the painted file cannot be written
    ├── JobFailed              1    job          a job ended without its file
    └── BackendError           4    backend
        ├── BackendRejected    4    rejected     needs a person
        └── BackendUnavailable 5    unavailable  wait and try again

A message says what happened to which thing and what it means; the hint says the one thing to do.
"""

from __future__ import annotations


class StylizerError(Exception):
    """Base of all errors that are shown as a sentence instead of a traceback."""

    exit_code = 1
    code = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(StylizerError):
    exit_code = 2
    code = "config"


class InputError(StylizerError):
    exit_code = 3
    code = "input"


class StyleError(InputError):
    code = "style"


class StoreError(StylizerError):
    code = "store"


class OutputError(StylizerError):
    code = "output"


class JobFailed(StylizerError):
    code = "job"


class BackendError(StylizerError):
    exit_code = 4
    code = "backend"


class BackendRejected(BackendError):
    code = "rejected"


class BackendUnavailable(BackendError):
    exit_code = 5
    code = "unavailable"
