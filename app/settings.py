"""How a server runs: one frozen object, filled by ``promptseg serve`` or by a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import urlsplit

from promptseg.errors import SettingsError, did_you_mean

__all__ = ["AUTH_KINDS", "Limits", "Oidc", "ServeSettings", "is_loopback"]

MIB = 1024**2
GIB = 1024**3
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
AUTH_KINDS = ("none", "keys", "password", "oidc")
LOOPBACK = ("localhost", "::1")


def is_loopback(host: str) -> bool:
    """Return True for an address that only this machine can reach."""
    return host in LOOPBACK or (host.startswith("127.") and host.replace(".", "").isdigit())


@dataclass(frozen=True)
class Limits:
    """What one person, and all together, may use. Sizes in bytes, times in seconds.

    Attributes:
        upload_bytes: of one request with files, and of everything unpacked from it.
        upload_files: files of one request, or entries of one archive.
        archive_ratio: largest ratio of unpacked to packed bytes of an archive's entry.
        user_bytes: on the disk, of all studies, sessions and MONAI Label's objects of one user.
        cache_bytes: on the disk, of the images that viewers load; the longest unused goes first.
        jobs_per_user: whole-body runs and downloads of one user at a time; beyond it 429.
        body_bytes: of any other request.
        body_bytes_per_s: of one user's bodies but files, on the long run; what comes faster is read more slowly.
        voxels: of one volume, its colours counted each.
        sessions_per_user: sessions of one user in memory; the longest idle one is put away for a new one.
        user_memory_bytes: of one user's volumes and sessions in memory, on a server with users.
        memory_bytes: of all volumes and sessions in memory.
        embedding_bytes: of a session's embeddings.
        queue_per_user: waiting jobs of one user; beyond it the answer is 429.
        queue_total: waiting jobs of one model; beyond it the answer is 503.
        requests_per_s: of one user, with a burst of ``request_burst``.
        request_burst: requests at once, as far as the rate goes.
        requests_at_once: requests of one user that are being answered, but for streams of events; beyond it 429.
        logins_per_minute: wrong passwords for one account from one address, or wrong keys from one address.
        viewers_per_user: viewers of one user in each viewer's protocol.
        idle_s: a session that nobody asked for leaves the memory after it.
        lease_s: another process may take a session over when its process was silent for it.
        body_s: longest silence inside a request's body.
        login_s: how long a browser stays logged in.
        stuck_s: a model's thread that is inside one call for so long is called stuck: health answers 503.
        end_s: after so long the process ends itself, to be started again; nothing is lost, all state is on the disk.
    """

    upload_bytes: int = 4 * GIB
    upload_files: int = 20_000
    archive_ratio: float = 200.0
    user_bytes: int = 100 * GIB
    cache_bytes: int = 20 * GIB
    jobs_per_user: int = 3
    body_bytes: int = 16 * MIB
    body_bytes_per_s: float = 1.0 * MIB
    voxels: int = 500_000_000
    sessions_per_user: int = 8
    user_memory_bytes: int = 4 * GIB
    memory_bytes: int = 8 * GIB
    embedding_bytes: int = 96 * MIB
    queue_per_user: int = 16
    queue_total: int = 256
    requests_per_s: float = 50.0
    request_burst: int = 200
    requests_at_once: int = 20
    logins_per_minute: int = 10
    viewers_per_user: int = 4
    idle_s: float = 15 * 60.0
    lease_s: float = 15.0
    body_s: float = 30.0
    login_s: float = 12 * 3600.0
    stuck_s: float = 90.0
    end_s: float = 300.0


@dataclass(frozen=True)
class Oidc:
    """An OpenID Connect provider: where it describes itself, and how it knows this server."""

    discovery_url: str
    client_id: str
    client_secret: str = field(repr=False)


@dataclass(frozen=True)
class ServeSettings:
    """Everything that a server needs to know before it starts.

    Attributes:
        data: folder of studies and journals; several processes of one department share it.
        store: SQLAlchemy URL; "" means ``store.sqlite`` in the data folder.
        host: address to listen on.
        port: port to listen on.
        auth: "none", "keys", "password" or "oidc"; all but "none" take API keys too.
        insecure: allow "none" on an address that others can reach.
        roots: folders below which a study may be named by its path.
        dicom_sources: addresses of DICOMweb servers whose studies may be named; nothing else is ever asked.
        dicom_auth: "user:password" for the only one, or ``ADDRESS=user:password`` for each, separated by white space.
        device: where models run.
        models: ids that may be used; () means all.
        origins: other origins (scheme://host:port) that browsers may call from, and public names behind a proxy.
        trusted_proxies: addresses or networks (CIDR) of proxies whose X-Forwarded-For and -Proto count.
        log_level: "debug", "info", "warning" or "error".
        log_format: "text" or "json".
        secure_cookies: send cookies over https only; for servers behind a proxy that speaks https.
        oidc: the provider, for auth "oidc".
        ui: mount the browser app at "/".
        limits: see ``Limits``.

    Raises:
        SettingsError: an unknown kind of auth; an open address without users.
    """

    data: Path
    store: str = field(default="", repr=False)
    host: str = "127.0.0.1"
    port: int = 7860
    auth: str = "none"
    insecure: bool = False
    roots: tuple[Path, ...] = ()
    dicom_sources: tuple[str, ...] = ()
    dicom_auth: str = field(default="", repr=False)
    device: str = "auto"
    models: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    log_level: str = "info"
    log_format: str = "text"
    secure_cookies: bool = False
    oidc: Oidc | None = None
    ui: bool = False
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.auth not in AUTH_KINDS:
            raise SettingsError(
                f"expected --auth {', '.join(AUTH_KINDS)}, got {self.auth!r}{did_you_mean(self.auth, AUTH_KINDS)}"
            )
        if self.auth == "none" and not self.insecure and not is_loopback(self.host):
            raise SettingsError(
                f"anyone who reaches {self.host} could read every image: expected --auth keys, password or oidc "
                "on an address other than this machine's own; or --insecure if that is really meant"
            )
        if (self.auth == "oidc") != (self.oidc is not None):
            raise SettingsError("expected --auth oidc together with an OIDC provider (--oidc-url, --oidc-client)")
        for source in self.dicom_sources:
            parts = urlsplit(source)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
                raise SettingsError(
                    "expected --dicom-source as http(s)://host[:port]/path of a DICOMweb server, without name and "
                    "password (those come in the variable PROMPTSEG_DICOM_AUTH)"
                )
        for proxy in self.trusted_proxies:
            try:
                ip_network(proxy, strict=False)
            except ValueError:
                raise SettingsError(
                    f"expected --trusted-proxy as an address or network (CIDR), got {proxy!r}"
                ) from None
        for name, value, known in (("level", self.log_level, LOG_LEVELS), ("format", self.log_format, LOG_FORMATS)):
            if value not in known:
                raise SettingsError(
                    f"expected --log-{name} {', '.join(known)}, got {value!r}{did_you_mean(value, known)}"
                )
        object.__setattr__(self, "dicom_sources", tuple(source.rstrip("/") for source in self.dicom_sources))
        object.__setattr__(self, "data", Path(self.data).expanduser().resolve())
        object.__setattr__(self, "roots", tuple(Path(root).expanduser().resolve() for root in self.roots))

    def dicom_password(self, source: str) -> str:
        """Return "user:password" for one of the DICOM sources, "" where it needs none.

        Raises:
            SettingsError: one password is given for several sources: it would be sent to all of them.
        """
        given = self.dicom_auth.split()
        named = dict(entry.split("=", 1) for entry in given if "://" in entry.split("=", 1)[0] and "=" in entry)
        if named or not given:
            return {address.rstrip("/"): auth for address, auth in named.items()}.get(source, "")
        if len(self.dicom_sources) > 1:
            raise SettingsError(
                "expected PROMPTSEG_DICOM_AUTH as ADDRESS=user:password for each of several DICOM sources, with spaces "
                "between them: one password would be sent to all"
            )
        return self.dicom_auth

    @property
    def store_url(self) -> str:
        """The store's SQLAlchemy URL."""
        return self.store or f"sqlite:///{self.data / 'store.sqlite'}"
