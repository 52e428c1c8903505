"""The process of a server, with a fake engine: its listeners, its certificate, and how it ends."""

import socket
import ssl
from pathlib import Path

import httpx
import pytest

from tests.server.apps import question
from tests.server.certificates import write_certificate
from tests.server.running import serving_fake


def trusting(certificate: Path) -> ssl.SSLContext:
    """Return what a client needs to trust this certificate."""
    return ssl.create_default_context(cafile=str(certificate))


def test_https(tmp_path):
    certificate, key = write_certificate(tmp_path)
    flags = ["--tls-cert", str(certificate), "--tls-key", str(key)]
    long = "word " * 20_000
    with (
        serving_fake(tmp_path / "log", *flags, certificate=certificate, env={"FAKE_ANSWER": long}) as server,
        httpx.Client(base_url=server.url, verify=trusting(certificate)) as client,
    ):
        reply = client.post("/v1/chat/completions", json=question())
        assert reply.json()["choices"][0]["message"]["content"] == long
        assert server.url.startswith("https://")
        assert client.get("/v1/models").json()["data"][0]["id"] == "nano"
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(server.url.replace("https", "http") + "/readyz")
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(server.url + "/readyz")
        assert client.get("/readyz").status_code == 200
    assert server.process.returncode == 0


def test_metrics_on_a_port_of_their_own(tmp_path):
    certificate, key = write_certificate(tmp_path)
    flags = ["--metrics-port", "0", "--api-key", "hush"]
    flags += ["--tls-cert", str(certificate), "--tls-key", str(key)]
    with (
        serving_fake(tmp_path / "log", *flags, certificate=certificate) as server,
        httpx.Client(
            base_url=server.url, verify=trusting(certificate), headers={"Authorization": "Bearer hush"}
        ) as client,
        httpx.Client() as operator,
    ):
        assert client.get("/v1/models").status_code == 200
        assert client.get("/metrics").json()["error"]["code"] == "unknown_url"
        text = operator.get(server.metrics_url).text
        assert 'internvl3_http_requests_total{route="/v1/models",status="200"} 1.0' in text
        assert "vllm:num_requests_running" in text
        for path in ("/v1/models", "/readyz", "/", "/docs", "/openapi.json"):
            assert operator.get(server.metrics_url.replace("/metrics", path)).status_code == 404
        assert operator.get(server.metrics_url, headers={"Host": "evil.example"}).status_code == 421
    assert server.process.returncode == 0


def ending(log: Path, *flags: str) -> str:
    """Return the only line of a server that can't start."""
    with pytest.raises(AssertionError), serving_fake(log, *flags):
        pass
    lines = log.read_text().splitlines()
    assert len(lines) == 1
    return lines[0]


def test_a_key_that_cant_be_read_ends_the_start(tmp_path):
    certificate, _ = write_certificate(tmp_path)
    absent = tmp_path / "absent"
    line = ending(tmp_path / "log", "--tls-cert", str(certificate), "--tls-key", str(absent))
    assert line == f"internvl3: --tls-key: can't read {absent}: No such file or directory"


def test_a_metrics_port_that_is_taken_ends_the_start(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = ending(tmp_path / "log", "--metrics-port", str(port))
    assert line.startswith(f"internvl3: can't listen on 127.0.0.1:{port}: Address already in use")
    assert line.endswith("; set --host or --metrics-port")
