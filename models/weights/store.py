"""Weights on disk: fetched once, checked, and found again without a network.

``<models folder>/<model id>/<file name>``. A file gets its real name only after its hash was right; until then it is
``<file name>.part``. Several processes may pull the same model at once: one downloads, the others wait.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from promptseg.errors import ModelError
from promptseg.models.settings import ModelSettings, model_settings
from promptseg.models.weights.digests import check_computable, check_hashes
from promptseg.models.weights.download import OnBytes, candidate_urls, etag_file, fetch, forget_part
from promptseg.models.weights.registry import ROW_FILE, ModelCard, WeightFile, model_cards
from promptseg.models.weights.trust import TrustFile, write_atomically

__all__ = ["FileFinding", "Store"]

FIRST_USE = "trust-on-first-use"
BY_USER = "added by the user"
OWN_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True)
class FileFinding:
    """What ``Store.verify`` found about one file.

    Attributes:
        name: the file.
        state: "ok", "absent", "unpinned" (no published hash and none recorded yet) or "wrong".
        text: how it was checked, or expected and found.
    """

    name: str
    state: str
    text: str


class Store:
    """The folder of weights and its lock file."""

    def __init__(self, settings: ModelSettings | None = None) -> None:
        self.settings = settings or model_settings()
        self.trust = TrustFile(self.settings.models_dir)

    def folder(self, model_id: str) -> Path:
        """The model's folder; it need not exist."""
        return self.settings.models_dir / model_id

    def path(self, model_id: str, file: WeightFile) -> Path:
        """Where a file belongs.

        Raises:
            ModelError: the row's file name would lead out of the model's folder.
        """
        name = PurePosixPath(file.name)
        if name.is_absolute() or ".." in name.parts or "\\" in file.name or not name.parts:
            raise ModelError(f"expected a file name inside the folder of model {model_id!r}, got {file.name!r}")
        return self.folder(model_id).joinpath(*name.parts)

    def is_here(self, card: ModelCard) -> bool:
        """True when every file that the model needs is on disk (checked or not)."""
        return all(self.path(card.id, file).is_file() for file in card.files)

    def unchecked(self, card: ModelCard) -> tuple[str, ...]:
        """Names of the files to fetch whose hash nobody published and that were never pinned."""
        absent = [file for file in card.files if not self.path(card.id, file).is_file()]
        return tuple(f.name for f in absent if not f.hashes and not self.trust.pinned(card.id, f.name))

    def fingerprint(self, card: ModelCard) -> str:
        """The sha256 (hex) of the model's files, as checked, in the row's order and joined by "-"."""
        pins = [self.trust.pinned(card.id, file.name) for file in card.files]
        return "-".join(pin.sha256 for pin in pins if pin is not None)

    def ensure(self, card: ModelCard) -> dict[str, Path]:
        """Return role to path of files that are here and checked; never opens a connection.

        Raises:
            ModelError: a file is missing, wrong or never checked, or the licence was not accepted.
        """
        self._need_licence(card, accept=False)
        found = {}
        for file in card.files:
            path = self.path(card.id, file)
            if not path.is_file():
                raise ModelError(
                    f"model {card.id!r} is not on this machine: expected {path}; run: promptseg models pull {card.id}"
                )
            if not self.trust.is_unchanged(card.id, file.name, path):
                self._check(card, file, path, trust_on_first_use=False)
            found[file.role] = path
        return found

    def pull(
        self,
        card: ModelCard,
        *,
        accept_licence: bool = False,
        trust_on_first_use: bool = False,
        on_bytes: OnBytes | None = None,
    ) -> dict[str, Path]:
        """Fetch what is missing, check it, and return role to path.

        Args:
            card: the model.
            accept_licence: the user accepts a licence that restricts use; it is recorded.
            trust_on_first_use: pin whatever comes where nobody published a hash.
            on_bytes: progress of the file at hand, on the thread that called; what it raises (``Cancelled``) stops the
                download, and the next pull goes on from there.

        Raises:
            ModelError: nothing could be fetched, a hash is wrong (nothing is kept under the real name), the licence
                was not accepted, there is no published hash, or the settings say offline.
        """
        self._need_licence(card, accept=accept_licence)
        found = {}
        for file in card.files:
            path = self.path(card.id, file)
            with self.locked(card.id):
                if path.is_file():
                    if not self.trust.is_unchanged(card.id, file.name, path):
                        self._check(card, file, path, trust_on_first_use=trust_on_first_use)
                else:
                    self._need_hash(card, file, trust_on_first_use)
                    self._fetch(card, file, path, trust_on_first_use=trust_on_first_use, on_bytes=on_bytes)
            found[file.role] = path
        return found

    def adopt(self, card: ModelCard, file: WeightFile, source: Path, *, trust_on_first_use: bool = False) -> Path:
        """Take a copy of a file that a person brought, after checking it.

        Raises:
            ModelError: its hash or size is wrong, nobody published one and ``trust_on_first_use`` is False, or it
                cannot be copied.
            MissingExtraError: a package that its hash needs is not installed.
        """
        with self.locked(card.id):
            path = self._take(card, file, source, trust_on_first_use=trust_on_first_use)
            forget_part(_part(path))
        return path

    def adopt_own(self, card: ModelCard, sources: Mapping[WeightFile, Path], row: str) -> None:
        """Take a user's own model: its files, checked and pinned, then its row; all of it or nothing.

        A file that lies in its place already stays there, whatever happens.

        Raises:
            ModelError: the id is malformed or taken, something else lies in a file's place, or a file is not what the
                row says or cannot be copied.
        """
        made: list[Path] = []
        with self.locked(card.id):
            self.check_new_id(card.id)
            self.trust.forget(card.id)  # what an earlier model of this id left behind
            try:
                for file, source in sources.items():
                    path = self.path(card.id, file)
                    if path.exists() and path.samefile(source):
                        self._check(card, file, path, trust_on_first_use=True)
                    elif path.exists():
                        raise ModelError(f"expected nothing at {path}, where {source} is to lie; move it away")
                    else:
                        made.append(path)
                        self._take(card, file, source, trust_on_first_use=True)
                write_atomically(self.folder(card.id) / ROW_FILE, row)
            except BaseException as exc:
                for path in made:
                    path.unlink(missing_ok=True)
                with suppress(OSError):
                    self.folder(card.id).rmdir()  # only when it is empty
                if isinstance(exc, OSError):
                    raise ModelError(f"cannot write into {self.folder(card.id)}: {exc.strerror or exc}") from exc
                raise

    def check_new_id(self, model_id: str) -> None:
        """Refuse an id that a user's own model cannot have.

        Raises:
            ModelError: it is malformed, or taken.
        """
        if not OWN_ID.fullmatch(model_id):
            raise ModelError(f"expected an id of lower-case letters, digits, '.', '_' and '-', got {model_id!r}")
        if model_id in model_cards(self.settings.models_dir):
            raise ModelError(f"the id {model_id!r} is taken; choose another or run: promptseg models rm {model_id}")

    def verify(self, card: ModelCard, *, trust_on_first_use: bool = False) -> tuple[FileFinding, ...]:
        """Read every file and compare it with the registry and the lock file.

        The weights stay as they are; the lock file records what was right, as after a download.
        """
        findings = []
        for file in card.files:
            path = self.path(card.id, file)
            if not path.is_file():
                findings.append(FileFinding(file.name, "absent", f"run: promptseg models pull {card.id}"))
                continue
            try:
                how = self._check(card, file, path, trust_on_first_use=trust_on_first_use)
            except ModelError as exc:
                known = bool(file.hashes) or self.trust.pinned(card.id, file.name) is not None
                findings.append(FileFinding(file.name, "wrong" if known else "unpinned", str(exc)))
            else:
                findings.append(FileFinding(file.name, "ok", how))
        return tuple(findings)

    def remove(self, card: ModelCard) -> int:
        """Delete a model's folder (weights, exports, a user's row) and return the bytes set free."""
        folder = self.folder(card.id)
        if not folder.is_dir():
            return 0
        with self.locked(card.id):
            freed = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
            shutil.rmtree(folder)
        self.trust.forget(card.id)
        return freed

    @contextmanager
    def locked(self, model_id: str) -> Iterator[None]:
        """Hold the model's lock; other processes wait.

        Raises:
            ModelError: the folder of weights cannot be written.
        """
        from filelock import FileLock

        lock = FileLock(str(self.settings.models_dir / f".{model_id}.lock"))
        try:
            self.settings.models_dir.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as exc:
            raise ModelError(f"cannot write into {self.settings.models_dir}: {exc.strerror or exc}") from exc
        try:
            yield
        finally:
            lock.release()

    def _need_licence(self, card: ModelCard, *, accept: bool) -> None:
        if card.commercial_use or card.user or self.trust.has_accepted(card.id, card.licence):
            return
        if not accept:
            raise ModelError(
                f"the licence of model {card.id!r} ({card.licence}) restricts its use: read it at {card.source}, "
                f"then run: promptseg models pull {card.id} --accept-licence"
            )
        self.trust.accept(card.id, card.licence)

    def _need_hash(self, card: ModelCard, file: WeightFile, trust_on_first_use: bool) -> None:
        pinned = self.trust.pinned(card.id, file.name)  # a broken lock file is told before the download, not after it
        if file.hashes or pinned or trust_on_first_use:
            return
        raise ModelError(
            f"nobody published a hash of {file.name} ({file.hash_source}), so it cannot be checked; "
            f"add --{FIRST_USE} to pin what comes now and have it checked from then on"
        )

    def _fetch(
        self,
        card: ModelCard,
        file: WeightFile,
        path: Path,
        *,
        trust_on_first_use: bool,
        on_bytes: OnBytes | None,
    ) -> None:
        urls = candidate_urls(card.id, file.name, file.urls, self.settings)
        if self.settings.offline:
            urls = [u for u in urls if u.startswith("file:")]
        if not urls:
            raise ModelError(_by_hand(card, file, path, offline=self.settings.offline))
        check_computable(file.hashes)
        part = _part(path)
        reasons = []
        for url in urls:
            try:
                fetch(url, part, on_bytes=on_bytes)
                self._settle(card, file, part, path, trust_on_first_use=trust_on_first_use)
            except ModelError as exc:
                reasons.append(str(exc))
            else:
                return
        raise ModelError("; ".join(dict.fromkeys(reasons)) + (f"; by hand: {file.how}" if file.how else ""))

    def _settle(self, card: ModelCard, file: WeightFile, part: Path, path: Path, *, trust_on_first_use: bool) -> None:
        """Check the unfinished file and give it its name; a wrong one is deleted."""
        try:
            self._check(card, file, part, trust_on_first_use=trust_on_first_use, real=path)
        except ModelError:
            forget_part(part)
            raise
        etag_file(part).unlink(missing_ok=True)

    def _take(self, card: ModelCard, file: WeightFile, source: Path, *, trust_on_first_use: bool) -> Path:
        """Copy a file under another name, check it, then give it its own; the lock is held."""
        check_computable(file.hashes)
        path = self.path(card.id, file)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".copy-", dir=path.parent) as work:
                copy = Path(shutil.copyfile(source, Path(work) / path.name))
                self._check(card, file, copy, trust_on_first_use=trust_on_first_use, real=path)
        except OSError as exc:
            raise ModelError(f"cannot copy {source} to {path}: {exc.strerror or exc}") from exc
        return path

    def _check(
        self,
        card: ModelCard,
        file: WeightFile,
        path: Path,
        *,
        trust_on_first_use: bool,
        real: Path | None = None,
    ) -> str:
        """Compare size, hashes and pin; rename to ``real`` when it is right; record; return how it was checked."""
        size, kept = path.stat().st_size, real is None
        if file.bytes and size != file.bytes:
            raise ModelError(_wrong(card, file, path, kept, f"expected {file.bytes:,} bytes, got {size:,}"))
        sha256, mismatch = check_hashes(path, file.hashes)
        if mismatch:
            raise ModelError(_wrong(card, file, path, kept, mismatch))
        pin = self.trust.pinned(card.id, file.name)
        if pin is not None and pin.sha256 != sha256:
            raise ModelError(
                _wrong(card, file, path, kept, f"expected sha256 {pin.sha256} as pinned on {pin.date}, got {sha256}")
            )
        first = BY_USER if card.user and not file.urls else FIRST_USE
        how = "/".join(h.partition(":")[0] for h in file.hashes) or (pin.checked_by if pin else first)
        if not file.hashes and pin is None and not trust_on_first_use:
            raise ModelError(
                f"{path} was never checked and nobody published its hash; to trust it as it is, "
                f"run: promptseg models verify {card.id} --{FIRST_USE}",
                unchecked=card.id,
            )
        if real is not None:
            path = path.replace(real)
        self.trust.pin(card.id, file.name, path, sha256, how, must_last=not file.hashes and pin is None)
        return f"{how}, sha256 {sha256}"


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _wrong(card: ModelCard, file: WeightFile, path: Path, kept: bool, what: str) -> str:
    then = f"it is not used; delete {path} and pull it again" if kept else "it was thrown away"
    return f"{file.name} of model {card.id!r} is not the file that it should be: {what}; {then}"


def _by_hand(card: ModelCard, file: WeightFile, path: Path, *, offline: bool) -> str:
    why = "the settings say offline" if offline else "no address is known"
    where = file.how or (file.urls[0] if file.urls else card.source)
    return (
        f"{file.name} is not here and {why}: get it on another machine from {where}, then copy it to {path} or run: "
        f"promptseg models import FILE --as {card.id}"
    )
