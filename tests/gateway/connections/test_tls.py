"""HTTPS, with certificates that are made here and renewed while the server runs."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
import structlog

from gateway.config import SettingsError, TlsSettings
from gateway.connections import Certificate
from tests.gateway.live import serving

pytestmark = pytest.mark.skipif(
    not shutil.which("openssl"), reason="openssl makes the certificates"
)


def make_certificate(folder: Path, name: str = "first") -> TlsSettings:
    """One that signs itself, for 127.0.0.1, in files that are there whole or not at all."""
    made = folder / f"{name}.pem", folder / f"{name}.key"
    subject = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", *subject, "-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run(command, check=True, capture_output=True)
    return TlsSettings(certificate=made[0], key=made[1])


def as_settings(tls: TlsSettings) -> dict[str, str]:
    return {"certificate": str(tls.certificate), "key": str(tls.key)}


def trusting(tls: TlsSettings) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(tls.certificate))


async def get(url: str, context: ssl.SSLContext) -> int:
    async with httpx.AsyncClient(verify=context, trust_env=False) as http:
        return (await http.get(url)).status_code


async def test_https_and_a_renewal_without_a_restart(fake_engine, tmp_path):
    """New connections get the new certificate; one that is open goes on."""
    tls, renewed = make_certificate(tmp_path), make_certificate(tmp_path, "second")
    old_trust, new_trust = trusting(tls), trusting(renewed)
    async with serving(fake_engine, tmp_path, tls=as_settings(tls)) as live:
        url = live.url.replace("http:", "https:") + "/livez"
        async with httpx.AsyncClient(verify=old_trust, trust_env=False) as open_before:
            assert (await open_before.get(url)).status_code == 200
            renewed.key.replace(tls.key)
            renewed.certificate.replace(tls.certificate)

            assert (await open_before.get(url)).status_code == 200
            assert await get(url, new_trust) == 200
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await get(url, old_trust)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_tls_1_1_is_refused(fake_engine, tmp_path):
    """It has been given up (RFC 8996); the same client is answered in TLS 1.2."""
    tls = make_certificate(tmp_path)
    client = trusting(tls)
    client.set_ciphers("ALL:@SECLEVEL=0")
    async with serving(fake_engine, tmp_path, tls=as_settings(tls)) as live:
        url = live.url.replace("http:", "https:") + "/livez"
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        assert await get(url, client) == 200

        client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(httpx.ConnectError):
            await get(url, client)


async def test_plain_http_is_not_answered(fake_engine, tmp_path):
    """A key sent in the clear would be everybody's."""
    async with serving(fake_engine, tmp_path, tls=as_settings(make_certificate(tmp_path))) as live:
        with pytest.raises(httpx.TransportError):
            await live.http.get("/livez")


async def test_a_refused_head_is_answered_over_tls_too(fake_engine, tmp_path):
    """TLS cannot close one direction alone, which refusals do otherwise."""
    tls = make_certificate(tmp_path)
    async with serving(fake_engine, tmp_path, tls=as_settings(tls)) as live:
        port = int(live.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(tls))
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n")
        answer = await reader.readline()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 400")


def test_files_in_the_middle_of_a_renewal_leave_the_former(tmp_path):
    """A new certificate beside the old key fits nobody; it is warned of once."""
    tls, renewed = make_certificate(tmp_path), make_certificate(tmp_path, "second")
    certificate = Certificate(tls)
    before = certificate._inner
    renewed.certificate.replace(tls.certificate)
    connection = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).wrap_bio(
        ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True
    )
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            certificate._choose(connection, None, certificate.context)

    assert connection.context is before
    assert [line["event"] for line in lines] == ["certificate_not_read"]


def test_what_cannot_be_used_is_an_error_at_the_start(tmp_path):
    """With the file's name: missing ones, others' keys, keys with a password."""
    tls, other = make_certificate(tmp_path), make_certificate(tmp_path, "second")
    command = ["openssl", "ec", "-in", str(tls.key), "-aes128", "-passout", "pass:secret"]
    subprocess.run(
        [*command, "-out", str(tmp_path / "locked.key")], check=True, capture_output=True
    )
    for key in (tmp_path / "none.key", other.key, tmp_path / "locked.key"):
        with pytest.raises(SettingsError, match=r"\[tls\]"):
            Certificate(TlsSettings(certificate=tls.certificate, key=key))
