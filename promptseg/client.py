"""Old name of ``promptseg.remote.client``; goes with the next release."""

from __future__ import annotations

import warnings

from promptseg.remote.client import *  # noqa: F403

warnings.warn("promptseg.client is promptseg.remote.client now", DeprecationWarning, stacklevel=2)
