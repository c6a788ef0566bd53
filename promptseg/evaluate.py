"""Old name of ``promptseg.score.evaluate``; goes with the next release."""

from __future__ import annotations

import warnings

from promptseg.score.evaluate import *  # noqa: F403

warnings.warn("promptseg.evaluate is promptseg.score.evaluate now", DeprecationWarning, stacklevel=2)
