"""How a session speaks to its server, and what the server's refusals are here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from promptseg.errors import PromptError, PromptsegError, RemoteError, error_of

if TYPE_CHECKING:
    import httpx

__all__ = ["Connection", "refusal_of", "told_error"]

NOT_FACTS = ("code", "detail", "kind", "delta", "status")


class Connection(Protocol):
    """What ``Client`` offers its sessions."""

    def request(self, method: str, path: str, *, retry: bool = True, **options: Any) -> httpx.Response:
        """Send a request and return its answer; a refusal is an error."""
        ...

    def events(self, job_id: str) -> Iterator[dict[str, Any]]:
        """Give a job's events until it ends."""
        ...


def told_error(told: Mapping[str, Any], status: int = 0) -> PromptsegError:
    """Return the error that a server told of as {"code", "detail", ...}: the one that a local call raises.

    A value that the server's schema refuses is a ``PromptError``; what this package has no error for, ``RemoteError``.
    """
    code, detail = str(told.get("code", "")), str(told.get("detail", ""))
    facts = {key: value for key, value in told.items() if key not in NOT_FACTS}
    if code == "invalid":
        return PromptError(detail, **facts)
    return error_of(code, detail, facts) or RemoteError(detail, status, reason=code, **facts)


def refusal_of(answer: httpx.Response) -> PromptsegError:
    """Return the error that an answer stands for."""
    try:
        told = dict(answer.json())
    except (ValueError, TypeError):
        told = {}
    told.setdefault("detail", f"the server answered {answer.status_code}")
    return told_error(told, answer.status_code)
