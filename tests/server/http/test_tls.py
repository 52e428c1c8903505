"""A certificate and a key that a server can't use are refused with one line, and no password is asked for."""

import pytest

from server.errors import StartupError
from server.http.tls import check_tls_files
from tests.server.certificates import write_certificate


def test_a_certificate_and_its_key(tmp_path):
    check_tls_files(*write_certificate(tmp_path))


@pytest.mark.parametrize(
    ("certificate", "key", "message"),
    [
        ("tls.crt", "absent", "--tls-key: can't read "),
        ("absent", "tls.key", "--tls-cert: can't read "),
        ("folder", "tls.key", "Is a directory"),
        ("tls.crt", "another.key", "(key values mismatch): both must be PEM files"),
        ("tls.crt", "locked.key", "the key without a password"),
        ("text", "tls.key", "both must be PEM files"),
        ("tls.crt", "tls.crt", "both must be PEM files"),
    ],
)
def test_files_that_cant_be_used(tmp_path, certificate, key, message):
    write_certificate(tmp_path)
    write_certificate(tmp_path, "another")
    write_certificate(tmp_path, "locked", password=b"hush")
    (tmp_path / "text").write_text("no certificate")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StartupError) as raised:
        check_tls_files(tmp_path / certificate, tmp_path / key)
    assert message in str(raised.value) and "\n" not in str(raised.value)
