"""Running a batch: the one process that owns the manifest, gives cases to lines and puts results in their place."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from promptseg.batch.case import Case
from promptseg.batch.events import BatchProgress, CaseEnded, Finished, Listener, Note, Started
from promptseg.batch.inputs import find_cases, named_after_files
from promptseg.batch.job import JobSpec, make_job
from promptseg.batch.line import LineSettings, Outcome
from promptseg.batch.lines import Lines, LocalPlace, Place, gpu_ids, line_environment
from promptseg.batch.manifest import CASES_FOLDER, MANIFEST_NAME, RECEIPT_NAME, Manifest
from promptseg.errors import MissingExtraError, PromptsegError, SettingsError, StartError, WriteError

__all__ = ["BatchOptions", "run_batch"]

WORK_FOLDER, LOCK_NAME = ".work", ".lock"
LOOK_S = 0.25  # how often the loop looks around when nothing happens
TELL_S = 1.0  # how often progress is told
MAX_LOSSES = 3  # a case whose machine goes away this often may be the reason for it
REFUSED = "refused"  # by the reader or the engine: another attempt would end alike
UNCHARGED = ("stopped", "withdrawn")


@dataclass(frozen=True)
class BatchOptions:
    """How a batch runs.

    Attributes:
        workers: lines (one warm network each); None: one per GPU, one on the CPU.
        resume: go on with what the output folder holds.
        retry_failed: with ``resume``: try failed cases again.
        retries: how often a case that failed is tried again; one whose image or prompts are broken never is.
        timeout_s: seconds of work on one case; None: no limit.
        memory_mib: of each worker process; None: no limit.
        private_ids: name cases by hashes, for reports that are shown around: files' names may hold patients'.
        parquet: write the tables as Parquet too; needs pyarrow.
        cluster: address of a Ray cluster ("ray://host:port", "auto", "host:port"); None: this machine.
    """

    workers: int | None = None
    resume: bool = False
    retry_failed: bool = False
    retries: int = 1
    timeout_s: float | None = None
    memory_mib: float | None = None
    cluster: str | None = None
    private_ids: bool = False
    parquet: bool = False


def run_batch(
    inputs: Sequence[str | Path | Case],
    spec: JobSpec,
    output: str | Path,
    options: BatchOptions | None = None,
    on_event: Listener | None = None,
) -> Finished:
    """Run a job over many cases.

    Args:
        inputs: see ``promptseg.batch.inputs.find_cases``; or cases. With ``resume`` more may be named, or none.
        spec: what to do with each.
        output: folder for ``cases/<id>/``, ``report.html``, ``measurements.csv``, ``cases.csv``, ``manifest.sqlite``.
        options: see ``BatchOptions``.
        on_event: called with what happens.

    Returns:
        How it ended. ``KeyboardInterrupt`` (Ctrl-C) ends it cleanly: workers are killed, the report is written,
        ``interrupted`` is True.

    Raises:
        SettingsError: impossible options; a batch that is there already, or is running.
        ReadError: inputs that are not there.
        StartError: the job cannot run at all (weights, device).
        MissingExtraError: Parquet is asked for without pyarrow.
        WriteError: the folder cannot be written.
    """
    options = options or BatchOptions()
    if options.parquet and find_spec("pyarrow") is None:
        raise MissingExtraError("pyarrow", "parquet")
    output = Path(output).expanduser().absolute()
    gpus = gpu_ids(spec.device)
    spec = replace(spec, device=spec.device.partition(":")[0])  # each line sees one GPU only
    make_job(spec)
    started = time.monotonic()
    tell: Listener = on_event or (lambda _event: None)
    with _locked(output), contextlib.closing(_manifest(inputs, spec, output, options, tell)) as manifest:
        batch = _Batch(manifest, spec, output, options, tell, gpus)
        try:
            batch.run()
        except KeyboardInterrupt:
            batch.interrupted = True
        finally:
            batch.end()
        report = _report(manifest, spec, output, tell, parquet=options.parquet)
        counts = manifest.counts()
    finished = Finished(
        sum(counts.values()), counts["done"], counts["failed"], counts["pending"],
        time.monotonic() - started, batch.interrupted, report, batch.warned,
    )  # fmt: skip
    tell(finished)
    return finished


def _manifest(
    inputs: Sequence[str | Path | Case], spec: JobSpec, output: Path, options: BatchOptions, tell: Listener
) -> Manifest:
    there = (output / MANIFEST_NAME).is_file()
    if there and not options.resume:
        Manifest.begin(output, {}, ())  # raises: it is there
    cases = [given for given in inputs if isinstance(given, Case)]
    found, notes = find_cases([given for given in inputs if not isinstance(given, Case)])
    for note in notes:
        tell(Note(note))
    if not there and not cases and not found:
        Manifest.go_on(output, {})  # raises: nothing is there, and nothing was named
    if not there:
        named = found if options.private_ids else named_after_files(found)
        return Manifest.begin(output, spec.to_dict(), [*cases, *named])
    manifest = Manifest.go_on(output, spec.to_dict())
    known = [record.case for record in manifest.records()] if found else []
    named = found if options.private_ids and not known else named_after_files(found, known)
    new = manifest.add([*cases, *named])
    adopted = manifest.recover(retry_failed=options.retry_failed)
    if new and (cases or found):
        tell(Note(f"{new} new case(s) were added"))
    if adopted:
        tell(Note(f"{adopted} case(s) had been finished when the batch was killed"))
    return manifest


class _Batch:
    """One run."""

    def __init__(
        self,
        manifest: Manifest,
        spec: JobSpec,
        output: Path,
        options: BatchOptions,
        tell: Listener,
        gpus: Sequence[str],
    ) -> None:
        self.interrupted = False
        self._manifest, self._output, self._options, self._tell = manifest, output, options, tell
        self._work = output / WORK_FOLDER / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._settings = LineSettings(spec, self._work / "staging", options.timeout_s, options.memory_mib)
        self._gpus = gpus
        self._lines: Lines | None = None
        self._first_ready = self._last_told = 0.0
        self._ended_here = self.warned = 0
        counts = manifest.counts()
        self._total, self._done, self._failed = sum(counts.values()), counts["done"], counts["failed"]

    def run(self) -> None:
        """Work until no case is left."""
        shutil.rmtree(self._output / WORK_FOLDER, ignore_errors=True)
        self._settings.staging.mkdir(parents=True)
        (self._output / CASES_FOLDER).mkdir(exist_ok=True)
        if self._done + self._failed == self._total:
            self._tell(Started(self._total, self._done, self._failed, 0))
            return
        lines = self._lines = Lines(self._place())
        self._tell(Started(self._total, self._done, self._failed, lines.count))
        lines.open()
        self._first_ready = time.monotonic()
        while self._feed(lines) or lines.busy():
            if not lines.alive() and not lines.busy():
                raise StartError("no worker is left; mend what stopped them, then go on with --resume")
            for outcome in lines.outcomes(LOOK_S):
                self._settle(outcome)
            if time.monotonic() - self._last_told > TELL_S:
                self._progress(lines)

    def end(self) -> None:
        """Kill what runs, note that it waits again, and tidy up."""
        if self._lines is not None:
            self._lines.close()
        self._manifest.recover(retry_failed=False)
        shutil.rmtree(self._output / WORK_FOLDER, ignore_errors=True)

    def _place(self) -> Place:
        options = self._options
        if options.cluster is not None:
            from promptseg.batch.cluster import RayPlace

            return RayPlace(self._settings, options.cluster, options.workers)
        gpus = self._gpus
        count = options.workers or len(gpus) or 1
        environments = [line_environment(count, gpus[n % len(gpus)] if gpus else None) for n in range(count)]
        return LocalPlace(self._settings, self._work / "scratch", environments)

    def _feed(self, lines: Lines) -> bool:
        """Give waiting cases to lines with room; return True while cases wait."""
        while (record := self._manifest.next_pending()) is not None:
            number = lines.room()
            if number is None:
                return True
            self._manifest.started(record.case.id)
            lines.submit(number, record.case)
        lines.balance()
        return False

    def _settle(self, outcome: Outcome) -> None:
        if outcome.kind in UNCHARGED:
            self._manifest.put_back(outcome.case_id)
            return
        record = self._manifest.record(outcome.case_id)
        if outcome.kind == "lost" and record.losses + 1 < MAX_LOSSES:
            self._manifest.put_back(outcome.case_id, lost=outcome.reason)
            self._tell(Note(f"case {outcome.case_id} begins again: {outcome.reason}"))
            return
        kind, reason = outcome.kind, outcome.reason
        if kind is None:
            try:
                self._publish(outcome)
            except OSError as exc:
                kind, reason = "error", f"its results could not be put in their place: {exc.strerror}"
        attempt, seconds = record.attempts + 1, sum(outcome.stages.values())
        again = kind is not None and kind != REFUSED and attempt <= self._options.retries
        findings = tuple(outcome.data.get("findings", ())) if kind is None else ()
        if kind is None:
            self._manifest.done(outcome.case_id, outcome.stages, outcome.peak_mib)
            self._done += 1
            self.warned += bool(findings)
        else:
            self._manifest.failed(outcome.case_id, kind, reason, outcome.stages, final=not again)
            self._failed += not again
        self._ended_here += not again
        state = "done" if kind is None else "again" if again else "failed"
        self._tell(
            CaseEnded(outcome.case_id, state, attempt, seconds, outcome.peak_mib, kind, reason or None, findings)
        )

    def _publish(self, outcome: Outcome) -> None:
        """Write the receipt and give the folder its final name, in one rename. Only this process ever does that."""
        staged = self._settings.staging / outcome.case_id
        receipt = {
            "id": outcome.case_id,
            "software": f"promptseg {version('promptseg')}",
            "stages": dict(outcome.stages),
            "peak_mib": round(outcome.peak_mib, 1),
            **outcome.data,
        }
        (staged / RECEIPT_NAME).write_text(json.dumps(receipt, indent=1) + "\n", encoding="utf-8")
        for path in [*staged.iterdir(), staged]:
            _flush(path)
        staged.rename(self._output / CASES_FOLDER / outcome.case_id)

    def _progress(self, lines: Lines) -> None:
        self._last_told = time.monotonic()
        rate = self._ended_here / max(self._last_told - self._first_ready, 1e-9)
        left = (self._total - self._done - self._failed) / rate if rate else None
        self._tell(BatchProgress(self._total, self._done, self._failed, left, lines.status()))


def _flush(path: Path) -> None:
    """Bring a file or folder onto the disk, so that a power cut cannot leave an empty file under a final name."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _report(manifest: Manifest, spec: JobSpec, output: Path, tell: Listener, *, parquet: bool) -> str | None:
    from promptseg.batch.report import write_report

    try:
        return str(write_report(manifest, spec, output, parquet=parquet))
    except (PromptsegError, OSError) as exc:
        tell(Note(f"the report could not be written: {exc}"))
        return None


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = FileLock(output / LOCK_NAME)
        lock.acquire(timeout=0)
    except Timeout as exc:
        raise SettingsError(f"another batch is running in {output}; wait for it, or name another folder") from exc
    except OSError as exc:
        raise WriteError(f"cannot write into {output}: {exc.strerror}") from exc
    try:
        yield
    finally:
        lock.release()
