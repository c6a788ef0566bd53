"""Downloads that stop, lie or do not fit: what is kept is a part of one version, and the file is whole or not there."""

import contextlib
import datetime
import hashlib
import os
import socket
import ssl
import sys
import threading
from dataclasses import replace

import pytest

from promptseg.errors import MissingExtraError, ModelError
from promptseg.models.weights import download
from promptseg.models.weights.registry import ModelCard, WeightFile

CONTENT = bytes(range(256)) * 5000  # 1.28 MB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
OLD = b"old!" * 1000


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(download, "PAUSE_S", 0.0)


def card_for(url, **changes):
    file = replace(WeightFile("toy.pth", urls=(url,), hashes=(f"sha256:{SHA256}",), bytes=len(CONTENT)), **changes)
    return ModelCard("toy", "sam", "a toy", 2, ("point",), "Apache-2.0", True, "nowhere", files=(file,))


@pytest.fixture
def unpublished(file_server):
    """A model whose hash nobody published: what comes is pinned, so nothing but the file itself may come."""
    file_server.files["/toy.pth"] = CONTENT
    return card_for(f"{file_server.url}/toy.pth", hashes=(), bytes=0)


def leave_part(store, content, etag):
    part = store.folder("toy") / "toy.pth.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(content)
    part.with_name("toy.pth.part.etag").write_text(etag)
    return part


def pulled(store, card):
    return store.pull(card, trust_on_first_use=True)["checkpoint"].read_bytes()


def names(store):
    return sorted(path.name for path in store.folder("toy").iterdir())


def test_a_download_that_was_complete_is_not_fetched_again(store, unpublished, file_server):
    leave_part(store, CONTENT, f'"{hash(CONTENT)}"')
    assert pulled(store, unpublished) == CONTENT
    assert [wanted for _, wanted in file_server.requests] == [f"bytes={len(CONTENT)}-"]
    assert names(store) == ["toy.pth"]


def test_a_part_that_is_longer_than_the_file_is_given_up(store, unpublished, file_server):
    leave_part(store, CONTENT + b"more", f'"{hash(CONTENT)}"')
    assert pulled(store, unpublished) == CONTENT
    assert [wanted for _, wanted in file_server.requests] == [f"bytes={len(CONTENT) + 4}-", ""]


def test_a_complete_part_of_another_version_is_given_up(store, unpublished, file_server):
    file_server.ignores_version = True
    leave_part(store, b"x" * len(CONTENT), '"another version"')
    assert pulled(store, unpublished) == CONTENT


def test_two_versions_are_not_mixed_when_the_second_one_does_not_fit(store, unpublished, file_server):
    leave_part(store, OLD, '"another version"')
    file_server.claims = 10**15
    with pytest.raises(ModelError, match="expected 1,000,000,000,000,000 free bytes"):
        store.pull(unpublished, trust_on_first_use=True)
    assert pulled(store, unpublished) == CONTENT


def test_a_length_that_is_no_number_is_as_good_as_none(store, unpublished, file_server):
    file_server.claims = "many"
    store.pull(unpublished, trust_on_first_use=True)
    assert store.is_here(unpublished)


def test_a_rest_from_elsewhere_is_not_appended(store, unpublished, file_server):
    file_server.cut_after, file_server.rest_from = 500_000, 400_000
    assert pulled(store, unpublished) == CONTENT
    assert [wanted for _, wanted in file_server.requests] == ["", "bytes=500000-", ""]


def test_the_rest_of_another_version_is_not_appended(store, unpublished, file_server):
    file_server.ignores_version = True
    leave_part(store, OLD, '"another version"')
    assert pulled(store, unpublished) == CONTENT


@pytest.mark.parametrize("etag", ['W/"1"', ""])
def test_without_a_strong_version_it_starts_again(store, unpublished, file_server, etag):
    file_server.cut_after, file_server.etag = 500_000, etag
    assert pulled(store, unpublished) == CONTENT
    assert [wanted for _, wanted in file_server.requests] == ["", ""]


def test_a_full_disk_is_one_sentence_and_keeps_the_part(store, file_server):
    resource = pytest.importorskip("resource", reason="limits of a process are POSIX's")
    file_server.files["/toy.pth"] = CONTENT
    card, kept = card_for(f"{file_server.url}/toy.pth"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, kept[1]))  # the system refuses to write more, as a full disk
    try:
        with pytest.raises(
            ModelError, match=r"^cannot write .*toy\.pth\.part: .*; free space or set PROMPTSEG_MODELS$"
        ):
            store.pull(card)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert names(store) == ["toy.pth.part", "toy.pth.part.etag"]
    assert store.pull(card)["checkpoint"].read_bytes() == CONTENT
    assert [wanted for _, wanted in file_server.requests] == ["", "bytes=600000-"]


def test_a_missing_package_is_said_before_the_download(store, file_server, tmp_path, monkeypatch):
    file_server.files["/toy.pth"] = CONTENT
    (tmp_path / "toy.pth").write_bytes(CONTENT)
    card = card_for(f"{file_server.url}/toy.pth", hashes=("xxh128:" + "0" * 32,))
    monkeypatch.setitem(sys.modules, "xxhash", None)
    with pytest.raises(MissingExtraError, match="xxhash"):
        store.pull(card)
    assert file_server.requests == []
    with pytest.raises(MissingExtraError, match="xxhash"):
        store.adopt(card, card.files[0], tmp_path / "toy.pth")
    assert not store.folder("toy").exists()


def test_a_broken_lock_file_is_said_before_the_download(store, file_server):
    file_server.files["/toy.pth"] = CONTENT
    store.trust.path.parent.mkdir(parents=True)
    store.trust.path.write_text("{")
    with pytest.raises(ModelError, match=r"trusted\.json cannot be read"):
        store.pull(card_for(f"{file_server.url}/toy.pth"))
    assert file_server.requests == []


def _certificate(folder):
    """Key and certificate of 127.0.0.1 for an hour, signed by itself."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(hours=1))
    signed = made.add_extension(here, critical=False).sign(key, hashes.SHA256())
    path = folder / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def breaking_tls(tmp_path, monkeypatch):
    """The address of a server that writes plain bytes into the middle of an encrypted answer."""
    pytest.importorskip("cryptography", reason="cryptography is not installed")
    pem = _certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def serve():
        for _ in range(download.ATTEMPTS):
            plain, _ = listening.accept()
            with context.wrap_socket(plain, server_side=True) as connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(
                    f"HTTP/1.1 200 OK\r\nContent-Length: {len(CONTENT)}\r\n\r\n".encode() + CONTENT[:9999]
                )
                os.write(connection.fileno(), b"these are no records of TLS" * 99)
                connection.recv(1)  # until the client has gone, which breaks it

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}/toy.pth"
        thread.join(60)


def test_a_broken_tls_record_is_a_connection_that_ended_early(store, breaking_tls):
    with pytest.raises(ModelError, match=r"ended early 4 times \(.*SSL.*\); run the same command to go on"):
        store.pull(card_for(breaking_tls))
    assert not store.is_here(card_for(breaking_tls))
