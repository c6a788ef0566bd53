"""Lines on a Ray cluster: the same assembly lines, each an actor that stays warm on the node that Ray finds for it.

Every node must see the inputs and the output folder under the same paths (a shared file system), and have promptseg and
the weights. Values between the steps stay on the node; over the network go only the image and the results.
A lost node's cases begin again on the others; its lines come back when Ray has room for them.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import tempfile
from concurrent.futures import Future, wait
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from promptseg.batch.case import Case
from promptseg.batch.line import DEPTH, Line, LineSettings, Outcome
from promptseg.batch.lines import line_environment
from promptseg.errors import MissingExtraError, SettingsError

__all__ = ["RayPlace"]

STOP_WAIT_S = 5.0  # for lines to tidy up before they are killed
ANSWER_LIMIT_S = 10.0  # for a machine to answer at all
CLIENT_SCHEME, CLIENT_PORT = "ray://", 10001  # Ray's own default
NO_CLUSTER = "expected a Ray cluster at {!r}, none answers there; start one with `ray start --head`"


class RemoteLine:
    """A ``Line`` that lives in an actor; Ray has told this process which GPU it may use."""

    def __init__(self, settings: LineSettings, cpus: int) -> None:
        scratch = Path(tempfile.mkdtemp(prefix="promptseg-batch-"))
        environment = line_environment(max(1, (os.cpu_count() or 1) // cpus), None)
        self._line = Line(settings, scratch, environment)

    def open(self) -> None:
        """See ``Line``."""
        self._line.open()

    def run_case(self, case: Case) -> Outcome:
        """See ``Line``."""
        return self._line.run_case(case)

    def status(self) -> dict[str, tuple[str, float]]:
        """See ``Line``."""
        return self._line.status()

    def withdraw(self, case_id: str) -> None:
        """See ``Line``."""
        self._line.withdraw(case_id)

    def stop(self) -> None:
        """See ``Line``."""
        self._line.stop()


class RayPlace:
    """See ``promptseg.batch.lines.Place``.

    Args:
        settings: of every line.
        address: "auto" (the cluster of this machine), "host:port" or "ray://host:port".
        workers: number of lines; None: one per GPU of the cluster, without GPUs one per node.

    Raises:
        MissingExtraError: Ray is not installed.
        SettingsError: no cluster there, or no node in it.
    """

    def __init__(self, settings: LineSettings, address: str, workers: int | None) -> None:
        self._ray = _connected(address)
        self._settings = settings
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        if not nodes:
            raise SettingsError(f"the Ray cluster at {address} has no node with a CPU to work on")
        gpus = 0 if settings.spec.device == "cpu" else int(sum(node.get("GPU", 0) for node in nodes))
        self.count = workers or gpus or len(nodes)
        share = min(int(node["CPU"]) for node in nodes) // math.ceil(self.count / len(nodes))
        self._cpus, self._gpus = max(1, share), min(1.0, gpus / self.count)
        self._actors: dict[int, Any] = {}
        self._lost = (self._ray.exceptions.RayActorError, self._ray.exceptions.NodeDiedError,
                      self._ray.exceptions.ObjectLostError, self._ray.exceptions.WorkerCrashedError)  # fmt: skip

    def call(self, number: int, method: str, *arguments: Any) -> Future[Any]:
        """See ``Place``. ``open`` makes the actor, anew when it was lost; Ray starts it where there is room."""
        if method == "open":
            self._actors[number] = self._new_actor()
        answer: Future[Any] = Future()
        reference = getattr(self._actors[number], method).remote(*arguments)
        reference.future().add_done_callback(lambda done: _hand_over(done, answer))
        return answer

    def is_lost(self, exc: BaseException) -> bool:
        """See ``Place``."""
        return isinstance(exc, self._lost)

    def close(self) -> None:
        """See ``Place``."""
        stopping = []
        for actor in self._actors.values():
            with contextlib.suppress(Exception):  # a node that is gone needs no stopping
                stopping.append(actor.stop.remote().future())
        wait(stopping, timeout=STOP_WAIT_S)
        for actor in self._actors.values():
            with contextlib.suppress(Exception):
                self._ray.kill(actor)

    def _new_actor(self) -> Any:
        remote = self._ray.remote(
            num_cpus=self._cpus,
            num_gpus=self._gpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=DEPTH + 2,
            scheduling_strategy="SPREAD",
        )(RemoteLine)
        return remote.remote(self._settings, self._cpus)


def _connected(address: str) -> Any:
    try:
        import ray
    except ImportError as exc:
        raise MissingExtraError("ray", "cluster") from exc
    if not ray.is_initialized():
        _require_answer(address)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError) as exc:
            raise SettingsError(NO_CLUSTER.format(address)) from exc
    return ray


def _require_answer(address: str) -> None:
    """Look whether a machine answers; Ray itself would try for half a minute, or for ever where a cluster has died.

    Raises:
        MissingExtraError: Ray's client is not installed.
        SettingsError: no such address, or nobody answers.
    """
    if address.startswith(CLIENT_SCHEME) and find_spec("grpc") is None:
        raise MissingExtraError("grpcio", "cluster")
    known = _noted() if address == "auto" else address
    if not known:
        return  # Ray says so itself
    try:
        place = urlsplit(known if "://" in known else f"//{known}")
        socket.create_connection((place.hostname or "", place.port or CLIENT_PORT), timeout=ANSWER_LIMIT_S).close()
    except (OSError, ValueError) as exc:
        raise SettingsError(NO_CLUSTER.format(address)) from exc


def _noted() -> str:
    """Return the address that "auto" means: Ray's variable, or what ``ray start`` noted on this machine; "" if none."""
    note = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir()), "ray", "ray_current_cluster")
    named = os.environ.get("RAY_ADDRESS", "")
    return named or (note.read_text(encoding="utf-8").strip() if note.is_file() else "")


def _hand_over(done: Future[Any], answer: Future[Any]) -> None:
    """Pass a result on; an error raised inside an actor comes as itself, without Ray's wrapping."""
    exc = done.exception()
    if exc is None:
        answer.set_result(done.result())
    else:
        cause = getattr(exc, "cause", None)
        answer.set_exception(cause if isinstance(cause, BaseException) else exc)
