"""Old name of ``promptseg.score.evaluate``; goes with the next release. ``promptseg.evaluate`` is the function now."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType
from typing import Any

from promptseg.score.evaluate import *  # noqa: F403
from promptseg.score.evaluate import evaluate as _evaluate

warnings.warn("promptseg.evaluate is promptseg.score.evaluate now", DeprecationWarning, stacklevel=2)


class _Callable(ModuleType):
    """Importing a module puts it in the place of the function of its name: so the module is one."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call the function."""
        return _evaluate(*args, **named)


sys.modules[__name__].__class__ = _Callable
