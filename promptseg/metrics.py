"""Old name of ``promptseg.score.metrics``; goes with the next release."""

from __future__ import annotations

import warnings

from promptseg.score.metrics import *  # noqa: F403

warnings.warn("promptseg.metrics is promptseg.score.metrics now", DeprecationWarning, stacklevel=2)
