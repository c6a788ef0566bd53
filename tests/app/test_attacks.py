"""Attacks on a running server, each with the outcome that it must have; ``benchmarks/attacks.py`` prints them."""

from __future__ import annotations

import gzip
import io
import pickle
import socket
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from promptseg.app.settings import Limits, ServeSettings
from promptseg.example import example_path

from .conftest import add_users
from .servers import InThread

MIB = 1024**2
SECRET = "the content of a file that nobody may read"
LIMITS = Limits(
    upload_bytes=30 * MIB,
    upload_files=50,
    body_bytes=1 * MIB,
    voxels=20_000_000,
    requests_per_s=1e6,
    request_burst=10**9,
    logins_per_minute=25,
    body_s=1.5,
)


@dataclass
class Target:
    """A server with two users; ``mine`` and ``theirs`` are sessions of the attacker and of the victim."""

    url: str
    key: str
    victim_key: str
    study: str
    mine: str
    theirs: str
    folder: Path

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=120, **options)

    def upload(self, name: str, content: bytes) -> httpx.Response:
        return self.call("POST", "/api/v1/studies", files={"files": (name, content)})

    def raw(self, text: bytes, *, wait: float = 20.0) -> bytes:
        """Send bytes as they are; return the beginning of what comes back, b"" for a closed connection."""
        host, port = self.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=wait) as link:
            link.sendall(text)
            try:
                return link.recv(4096)
            except (TimeoutError, ConnectionError):
                return b""


def opened(url: str, key: str) -> tuple[str, str]:
    with httpx.Client(base_url=f"{url}/api/v1", headers={"Authorization": f"Bearer {key}"}, timeout=120) as api:
        study = api.post("/studies", json={"example": True}).json()["id"]
        session = api.post("/sessions", json={"study": study, "model": "classical"}).json()["id"]
        api.post(f"/sessions/{session}/prompts", json={"prompts": [{"type": "point", "voxel": [24, 62, 54]}]})
    return study, session


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("attacks")
    root = folder / "offered"
    root.mkdir()
    (root / "scan.nii.gz").write_bytes(example_path().read_bytes())
    (folder / "secret.txt").write_text(SECRET)
    (folder / "secret.raw").write_bytes(b"\x07" * 1000)
    (folder / "outside.nii.gz").write_bytes(example_path().read_bytes())
    (root / "link.nii.gz").symlink_to(folder / "outside.nii.gz")
    (root / "loop").symlink_to(root / "loop")
    settings = ServeSettings(data=folder / "data", auth="password", roots=(root,), limits=LIMITS)
    attacker, victim = add_users(settings, "mallory", "ada", password="long enough for ten").values()
    with InThread(settings) as url:
        study, mine = opened(url, attacker)
        yield Target(url, attacker, victim, study, mine, opened(url, victim)[1], folder)


Attack = Callable[[Target], Any]
ATTACKS: dict[str, tuple[Attack, set[int]]] = {}


def attack(name: str, *codes: int) -> Callable[[Attack], Attack]:
    """Register an attack with the statuses that are right; 0 stands for a closed connection."""

    def keep(call: Attack) -> Attack:
        ATTACKS[name] = (call, set(codes))
        return call

    return keep


def status(answer: Any) -> int:
    if isinstance(answer, httpx.Response):
        assert SECRET not in answer.text
        assert "Traceback" not in answer.text
        return answer.status_code
    return int(answer.split()[1]) if answer else 0


# --- paths -----------------------------------------------------------------------------------------------------------

for number, path in enumerate(
    [
        "../secret.txt",
        "0/../../secret.txt",
        "/etc/passwd",
        "....//secret.txt",
        "..\\secret.txt",
        "a\0b",
        "loop",
        "0/" + "a" * 4000,
    ],
    start=1,
):
    attack(f"traversal {number}: study by path {path[:20]!r}", 422)(
        lambda t, path=path: t.call("POST", "/api/v1/studies", json={"path": path})
    )
attack("a link below a root that leads out of it", 422)(
    lambda t: t.call("POST", "/api/v1/studies", json={"path": "link.nii.gz"})
)
attack("listing a folder above the roots", 422)(lambda t: t.call("GET", "/api/v1/folder", params={"path": "0/../.."}))
attack("traversal in an id", 404)(lambda t: t.raw(_get(t, "/api/v1/sessions/..%2F..%2Fsecret.txt")))
attack("traversal in the address", 404)(lambda t: t.raw(_get(t, "/../../../../etc/passwd")))
attack("traversal in an encoded address", 404)(lambda t: t.raw(_get(t, "/%2e%2e/%2e%2e/etc/passwd")))
attack("traversal in a series' id", 404, 422)(
    lambda t: t.call("GET", f"/api/v1/studies/{t.study}/series/..%2f..%2f1/thumbnail.png")
)


def _get(target: Target, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {target.key}\r\nConnection: close\r\n\r\n".encode()


@attack("an upload whose name leads out of its folder", 201)
def _upload_name(target: Target) -> Any:
    before = set(target.folder.iterdir())
    answer = target.upload("../../../../escaped.nii.gz", example_path().read_bytes())
    assert set(target.folder.iterdir()) == before
    assert not list(target.folder.rglob("*escaped*"))
    return answer


@attack("a zip entry whose name leads out of its folder", 201)
def _zip_slip(target: Target) -> Any:
    answer = target.upload("a.zip", zipped({"../../slip.nii.gz": example_path().read_bytes(), "/abs.txt": b"x"}))
    assert not list(target.folder.rglob("*slip*"))
    return answer


@attack("a zip with a symbolic link", 422)
def _zip_link(target: Target) -> Any:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("link.nii")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, str(target.folder / "secret.txt"))
    return target.upload("a.zip", buffer.getvalue())


def detached(name: str) -> bytes:
    lines = [
        "ObjectType = Image",
        "NDims = 3",
        "DimSize = 10 10 10",
        "ElementType = MET_UCHAR",
        f"ElementDataFile = {name}",
    ]
    return "\n".join(lines).encode() + b"\n"


@attack("a MetaImage header that names a file of the server", 422)
def _header_mhd(target: Target) -> Any:
    return target.upload("a.mhd", detached(str(target.folder / "secret.raw")))


@attack("a MetaImage header with a list of files of the server", 422)
def _header_list(target: Target) -> Any:
    return target.upload("a.mhd", detached("LIST\n" + str(target.folder / "secret.raw")))


@attack("a NRRD header that names a file of the server", 422)
def _header_nrrd(target: Target) -> Any:
    text = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 10 10 10\nencoding: raw\n"
    text += f"data file: {target.folder}/secret.raw\n\n"
    return target.upload("a.nhdr", text.encode())


# --- other addresses -------------------------------------------------------------------------------------------------

for url in ("http://169.254.169.254/latest/meta-data", "http://127.0.0.1:22/studies/1.2", "file:///etc/passwd"):
    attack(f"a study from {url}", 422)(lambda t, url=url: t.call("POST", "/api/v1/studies", json={"dicomweb": url}))

# --- foreign objects and tokens --------------------------------------------------------------------------------------

for verb, part in [
    ("GET", ""),
    ("DELETE", ""),
    ("GET", "/labels.nii"),
    ("GET", "/export?format=nii.gz"),
    ("POST", "/undo"),
    ("POST", "/propagate"),
]:
    attack(f"another user's session: {verb} {part or 'itself'}", 404)(
        lambda t, verb=verb, part=part: t.call(verb, f"/api/v1/sessions/{t.theirs}{part}")
    )
attack("no key", 401)(lambda t: httpx.get(f"{t.url}/api/v1/sessions"))
attack("a key in the address", 401)(lambda t: httpx.get(f"{t.url}/api/v1/sessions?key={t.key}"))
attack("a key as a cookie", 401)(lambda t: httpx.get(f"{t.url}/api/v1/sessions", cookies={"promptseg_login": t.key}))
attack("basic instead of bearer", 401)(
    lambda t: t.call("GET", "/api/v1/sessions", headers={"Authorization": "Basic eDp5"})
)
attack("SQL in a key", 401)(
    lambda t: t.call("GET", "/api/v1/sessions", headers={"Authorization": "Bearer ps_' OR 1=1 --"})
)
attack("SQL in an id", 404)(lambda t: t.call("GET", "/api/v1/sessions/' OR '1'='1"))
attack("SQL in a login", 401)(
    lambda t: httpx.post(f"{t.url}/login", data={"name": "' OR 1=1 --", "password": "x"}, headers={"Origin": t.url})
)
attack("a password of 20 kB", 401, 422)(
    lambda t: httpx.post(f"{t.url}/login", data={"name": "ada", "password": "x" * 20_000}, headers={"Origin": t.url})
)
attack("a login from another site's page", 403)(
    lambda t: httpx.post(
        f"{t.url}/login", data={"name": "a", "password": "b"}, headers={"Origin": "https://evil.example"}
    )
)


@attack("guessing keys", 429)
def _guess(target: Target) -> Any:
    codes = []
    with httpx.Client(timeout=60) as client:
        for number in range(LIMITS.logins_per_minute + 10):
            answer = client.get(f"{target.url}/api/v1/sessions", headers={"Authorization": f"Bearer ps_guess{number}"})
            codes.append(answer.status_code)
    assert set(codes) <= {401, 429}
    return answer


# --- sizes and forms -------------------------------------------------------------------------------------------------

attack("a body larger than allowed, announced", 413)(
    lambda t: t.call("POST", "/api/v1/sessions", content=b"x" * 2 * MIB)
)
attack("a body larger than allowed, in chunks", 413)(
    lambda t: t.call("POST", "/api/v1/sessions", content=(b"x" * 100_000 for _ in range(20)))
)
attack("an upload larger than allowed", 413)(lambda t: t.upload("a.nii", b"\0" * 40 * MIB))
attack("JSON nested 100 000 deep", 400, 422)(
    lambda t: t.call("POST", f"/api/v1/sessions/{t.mine}/prompts", content=b'{"prompts":' + b"[" * 100_000)
)
attack("numbers that are none", 422)(
    lambda t: t.call(
        "POST", f"/api/v1/sessions/{t.mine}/prompts", content=b'{"prompts":[{"type":"point","voxel":[NaN,1e999,0]}]}'
    )
)
attack("a mask that claims to be huge", 422)(
    lambda t: _prompt(t, {"type": "mask", "shape": [100000, 100000, 100000], "runs": [10**12, 0]})
)
attack("a mask whose runs add up to 30 GB", 422)(
    lambda t: _prompt(t, {"type": "mask", "shape": [100000, 100000, 3], "runs": [3 * 10**10]})
)
attack("a brush as large as a room", 422)(
    lambda t: t.call(
        "POST",
        f"/api/v1/sessions/{t.mine}/edits",
        json={"edit": {"kind": "paint", "centres": [[24, 62, 54]], "radius_mm": 1000}},
    )
)
attack("a mask of another shape", 422)(lambda t: _prompt(t, {"type": "mask", "shape": [1, 1, 1], "runs": [1]}))
attack("an index beyond 64 bits", 422)(
    lambda t: t.call("POST", f"/api/v1/sessions/{t.mine}/accept", json={"index": 2**70})
)
attack("a label's name with control characters", 422)(
    lambda t: t.call("POST", f"/api/v1/sessions/{t.mine}/labels", json={"name": "a\r\nSet-Cookie: x=1"})
)
attack("a paint stroke of a kilometre", 422)(
    lambda t: t.call(
        "POST",
        f"/api/v1/sessions/{t.mine}/edits",
        json={"edit": {"kind": "paint", "centres": [[1, 1, 1]], "radius_mm": 1e6}},
    )
)
attack("a field that does not exist", 422)(
    lambda t: t.call("POST", "/api/v1/sessions", json={"study": t.study, "admin": True})
)


def _prompt(target: Target, prompt: dict[str, Any]) -> httpx.Response:
    return target.call("POST", f"/api/v1/sessions/{target.mine}/prompts", json={"prompts": [prompt]})


# --- files that lie --------------------------------------------------------------------------------------------------


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def nifti(shape: tuple[int, int, int], data: bytes) -> bytes:
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, *shape, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, 2, 8)
    struct.pack_into("<8f", head, 76, 1, 1, 1, 1, 0, 0, 0, 0)
    struct.pack_into("<f", head, 108, 352)
    head[344:348] = b"n+1\0"
    return bytes(head) + data


class _Bomb:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return exec, ("raise SystemExit('unpickled')",)


FILES: dict[str, Callable[[], tuple[str, bytes]]] = {
    "a zip bomb (1 to 1000)": lambda: ("a.zip", zipped({"a.nii": b"\0" * 25 * MIB})),
    "a zip of too many files": lambda: ("a.zip", zipped({f"{n}.txt": b"x" for n in range(80)})),
    "a zip inside a zip": lambda: ("a.zip", zipped({"b.zip": zipped({"a.nii.gz": example_path().read_bytes()})})),
    "a damaged zip": lambda: ("a.zip", zipped({"a.nii": b"x" * 1000})[:200]),
    "a gzip bomb": lambda: ("a.nii.gz", gzip.compress(nifti((10, 10, 10), b"\0" * 200 * MIB))),
    "a NIfTI that claims to be huge": lambda: ("a.nii", nifti((32767, 32767, 32767), b"")),
    "a gzipped NIfTI that claims to be huge": lambda: (
        "a.nii.gz",
        gzip.compress(nifti((30000, 30000, 100), b"\0" * 1000)),
    ),
    "a PNG that claims to be huge": lambda: ("a.png", png(60_000, 60_000)),
    "a pickle called NIfTI": lambda: ("a.nii", pickle.dumps(_Bomb())),
    "an npy with objects called DICOM": lambda: ("a.dcm", npy_of_objects()),
    "a PDF called DICOM": lambda: ("a.dcm", b"%PDF-1.7\n" + b"x" * 2000),
    "a script called PNG": lambda: ("a.png", b"#!/bin/sh\ntouch /tmp/owned\n"),
    "HTML called NIfTI": lambda: ("a.nii.gz", b"<script>alert(1)</script>"),
    "an SVG with a script": lambda: ("a.svg", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'),
    "an XML bomb": lambda: ("a.xml", b'<!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><l>&b;</l>'),
    "an empty file": lambda: ("a.nii.gz", b""),
    "a deflated DICOM bomb": lambda: ("a.dcm", dicom_bomb()),
}


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 10_000))
        + chunk(b"IEND", b"")
    )


def npy_of_objects() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], object), allow_pickle=True)
    return buffer.getvalue()


def dicom_bomb() -> bytes:
    """Return a deflated data set that unpacks to 300 MiB."""
    syntax = b"1.2.840.10008.1.2.1.99\0"
    syntax += b"\0" * (len(syntax) % 2)
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    group = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta))
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = b"".join(squeeze.compress(b"\0" * MIB) for _ in range(300)) + squeeze.flush()
    return b"\0" * 128 + b"DICM" + group + meta + body


HARMLESS = ("a gzip bomb",)  # read as far as its header says: what it unpacks to behind that is never unpacked
for name, make in FILES.items():
    attack(name, *((201,) if name in HARMLESS else (413, 422)))(lambda t, make=make: t.upload(*make()))


# --- the protocol itself ---------------------------------------------------------------------------------------------

attack("a header that smuggles another", 400, 401, 404, 0)(
    lambda t: t.raw(b"GET /api/v1/sessions HTTP/1.1\r\nHost: a\r\nX: y\rSet-Cookie: z\r\n\r\n")
)
attack("two lengths of one body", 400, 0)(
    lambda t: t.raw(b"POST /api/v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 9\r\n\r\nabc")
)
attack("a length and chunks at once", 400, 401, 0)(
    lambda t: t.raw(
        b"POST /api/v1/sessions HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
)
attack("a header of 200 kB", 400, 431, 0)(
    lambda t: t.raw(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 200_000 + b"\r\n\r\n")
)
attack("no HTTP at all", 400, 0)(lambda t: t.raw(b"\x16\x03\x01\x02\x00\x01\x00" * 20))
attack("header injection through the export's name", 422)(
    lambda t: t.call("GET", f"/api/v1/sessions/{t.mine}/export", params={"format": 'nii.gz"\r\nX-Evil: 1'})
)
attack("a method that does not exist", 405)(lambda t: t.call("TRACE", "/api/v1/sessions"))


@attack("a body that comes too slowly", 408)
def _slow_body(target: Target) -> Any:
    head = f"POST /api/v1/sessions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {target.key}\r\n"
    return target.raw(head.encode() + b"Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{", wait=60)


@attack("40 clients that never finish their request", 200)
def _slow_heads(target: Target) -> Any:
    host, port = target.url.removeprefix("http://").split(":")
    links = [socket.create_connection((host, int(port)), timeout=60) for _ in range(40)]
    for link in links:
        link.sendall(b"GET /api/v1/health HTTP/1.1\r\nX-")
    began = time.monotonic()
    answer = httpx.get(f"{target.url}/api/v1/health", timeout=60)
    for link in links:
        link.settimeout(120)
        assert link.recv(10) == b""  # the server hung up
        link.close()
    assert time.monotonic() - began < 200
    return answer


@attack("a page of another site that reads with the user's cookie", 403)
def _cross_origin(target: Target) -> Any:
    answer = target.call("GET", "/api/v1/sessions", headers={"Origin": "https://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
    return answer


# --- one person against the others -----------------------------------------------------------------------------------


def spaced(mm: float) -> bytes:
    raw = bytearray(nifti((10, 10, 10), bytes(1000)))
    struct.pack_into("<3f", raw, 80, mm, mm, mm)
    return bytes(raw)


for mm in (1e-30, 1e-12, 1e30):
    attack(f"a NIfTI with voxels of {mm:g} mm", 422)(lambda t, mm=mm: t.upload("a.nii", spaced(mm)))


@attack("a click where voxels are a hundredth of a micrometre", 200)
def _tiny_voxels(target: Target) -> Any:
    study = target.upload("a.nii", spaced(1e-5)).json()["id"]
    session = target.call("POST", "/api/v1/sessions", json={"study": study, "model": "classical"}).json()["id"]
    body = {"prompts": [{"type": "point", "voxel": [5, 5, 5]}], "propagate": True}
    began = time.monotonic()
    answer = target.call("POST", f"/api/v1/sessions/{session}/prompts", json=body)
    assert time.monotonic() - began < 60
    return answer


attack("a lasso of 60 000 corners", 422)(
    lambda t: _prompt(t, {"type": "lasso", "plane": "axial", "index": 24, "polygon": [[9.5, 8.5]] * 60_000})
)


@attack("a lasso of 20 000 corners that cross each other", 200)
def _tangle(target: Target) -> Any:
    chance = np.random.default_rng(1)
    polygon = chance.uniform(20, 90, (20_000, 2)).round(1).tolist()
    return _prompt(target, {"type": "lasso", "plane": "axial", "index": 24, "polygon": polygon})


@attack("growing by a metre", 200)
def _grow(target: Target) -> Any:
    edit = {"edit": {"kind": "grow", "by_mm": 1000}}
    answer = target.call("POST", f"/api/v1/sessions/{target.mine}/edits", json=edit)
    assert target.call("POST", f"/api/v1/sessions/{target.mine}/undo").status_code == 200
    return answer


@attack("a stroke of 60 000 voxels", 200)
def _stroke(target: Target) -> Any:
    voxels = [[z, y, x] for z in range(20, 26) for y in range(20, 120) for x in range(20, 120)]
    answer = _prompt(target, {"type": "scribble", "voxels": voxels})
    assert target.call("POST", f"/api/v1/sessions/{target.mine}/undo").status_code == 200
    return answer


@attack("60 requests at once that each take a while", 429)
def _many(target: Target) -> Any:
    path, other = f"/api/v1/sessions/{target.mine}/export?format=csv", {"Authorization": f"Bearer {target.victim_key}"}
    with ThreadPoolExecutor(60) as pool:
        asked = [pool.submit(target.call, "GET", path) for _ in range(60)]
        theirs = httpx.get(f"{target.url}/api/v1/sessions/{target.theirs}", headers=other, timeout=120)
        answers = [each.result() for each in asked]
    assert theirs.status_code == 200
    assert {answer.status_code for answer in answers} == {200, 429}
    return next(answer for answer in answers if answer.status_code == 429)


@attack("zeros that unpack to 800 x 800 x 800 voxels", 422)
def _zeros(target: Target) -> Any:
    return target.upload("a.nii.gz", gzip.compress(nifti((800, 800, 800), bytes(10_000_000))))


@attack("a zip whose entries overlap", 422)
def _overlap(target: Target) -> Any:
    raw = zipped({"a.raw": b"\0" * 100_000})
    at, tail = raw.index(b"PK\x01\x02"), raw.index(b"PK\x05\x06")
    entry, end = raw[at:tail], raw[tail:]
    counts = struct.pack("<HHII", 40, 40, len(entry) * 40, at)
    return target.upload("a.zip", raw[:at] + entry * 40 + end[:8] + counts + end[20:])


@attack("all places of a viewer's protocol", 503)
def _all_places(target: Target) -> Any:
    claims = [target.call("POST", "/claim") for _ in range(16)]
    assert sum(answer.status_code == 200 for answer in claims) == 4
    other = {"Authorization": f"Bearer {target.victim_key}"}
    assert httpx.post(f"{target.url}/claim", headers=other, timeout=60).status_code == 200
    return claims[-1]


for door in (
    "upload",
    "queue/join",
    "run/predict",
    "call/predict",
    "component_server",
    "file=/etc/passwd",
    "proxy=http://a",
):
    attack(f"Gradio's own {door}", 404)(lambda t, door=door: t.call("POST", f"/gradio_api/{door}"))

# --- what is not one's own -------------------------------------------------------------------------------------------

for verb, part in [("GET", ""), ("PUT", "/bob"), ("DELETE", "/bob")]:
    attack(f"another user's study: {verb} its shares", 404)(
        lambda t, verb=verb, part=part: t.call(
            verb, f"/api/v1/studies/{_study_of(t)}/shares{part}", **({"json": {"role": "editor"}} if part else {})
        )
    )
attack("sharing with a role that does not exist", 422)(
    lambda t: t.call("PUT", f"/api/v1/studies/{t.study}/shares/ada", json={"role": "owner"})
)
attack("sharing with nobody", 404)(
    lambda t: t.call("PUT", f"/api/v1/studies/{t.study}/shares/nobody", json={"role": "reader"})
)


def _study_of(target: Target) -> str:
    headers = {"Authorization": f"Bearer {target.victim_key}"}
    return str(httpx.get(f"{target.url}/api/v1/studies", headers=headers, timeout=60).json()[0]["id"])


@attack("a reader who changes a mask", 403)
def _reader(target: Target) -> Any:
    headers = {"Authorization": f"Bearer {target.victim_key}"}
    share = f"{target.url}/api/v1/studies/{_study_of(target)}/shares/mallory"
    assert httpx.put(share, headers=headers, json={"role": "reader"}, timeout=60).status_code == 204
    answer = target.call("POST", f"/api/v1/sessions/{target.theirs}/undo")
    assert target.call("DELETE", f"/api/v1/sessions/{target.theirs}").status_code == 403
    assert httpx.delete(share, headers=headers, timeout=60).status_code == 204
    return answer


# --- other sites, other addresses, other forms -----------------------------------------------------------------------

for path in ("/v2/start_session/nnInteractive", "/end_session/a", "/reset_interactions/a", "/api/v1/studies"):
    for site in ("cross-site", "same-site"):
        attack(f"an image of another page ({site}) that asks {path}", 403)(
            lambda t, path=path, site=site: t.call(
                "GET", path, headers={"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
            )
        )
attack("asking whether a key is valid without one", 401)(lambda t: httpx.get(f"{t.url}/auth/token/valid"))
attack("JSON 30 000 deep in a form", 400)(
    lambda t: t.call("POST", "/infer/promptseg_click?image=a", data={"params": "[" * 30_000})
)


@attack("JSON 5 000 deep in a header", 400, 410)
def _deep_header(target: Target) -> Any:
    headers = {"X-Meta": "[" * 5_000, "X-Lease-Token": "none"}
    return target.call("POST", "/add_scribble_interaction", headers=headers, content=b"x")


@attack("a label in the datastore for an image that does not exist", 400)
def _label_of_nothing(target: Target) -> Any:
    return target.call("PUT", "/datastore/label?image=none", files={"label": ("a.nii.gz", b"x")})


attack("deleting another user's image in the datastore", 404)(lambda t: t.call("DELETE", "/datastore/?id=theirs"))
attack("a name in the datastore that is a path", 404)(lambda t: t.call("DELETE", "/datastore/?id=../../../etc"))


@attack("looking for the server's folders in its errors", 422)
def _paths(target: Target) -> Any:
    answer = target.upload("a.nii.gz", b"\x1f\x8b" + bytes(50))
    assert str(target.folder) not in answer.text
    return answer


@pytest.mark.parametrize("name", [name for name in ATTACKS if name != "guessing keys"] + ["guessing keys"])
def test_attack(target: Target, name: str, record_property: Callable[[str, object], None]) -> None:
    call, right = ATTACKS[name]
    answer = call(target)
    record_property("attack", name)
    record_property("status", status(answer))
    assert status(answer) in right, (name, answer)
    if isinstance(answer, httpx.Response) and answer.status_code >= 400:
        assert "json" not in answer.headers["content-type"] or isinstance(answer.json()["detail"], str)


def test_afterwards_everything_still_works(target: Target) -> None:
    headers = {"Authorization": f"Bearer {target.victim_key}"}
    answer = httpx.get(f"{target.url}/api/v1/sessions/{target.theirs}", headers=headers, timeout=120)
    assert answer.json()["labels"][0]["voxels"] > 0
    assert answer.json()["revision"] == 1
    assert len(ATTACKS) >= 110


def test_the_page_on_security_names_every_attack() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
    told = {row.split(" | ")[0].removeprefix("| ").replace("\\|", "|") for row in page.splitlines() if " | " in row}
    assert [name for name in ATTACKS if name not in told] == []
    assert "OPEN" not in page
