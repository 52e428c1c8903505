"""Check the certificate and the key of TLS before the server listens with them."""

import ssl
from pathlib import Path

from server.errors import StartupError


def check_tls_files(certificate: Path, key: Path) -> None:
    """Raise StartupError, whose message is one line, if a server can't use this certificate and this key."""
    for flag, path in (("--tls-cert", certificate), ("--tls-key", key)):
        try:
            path.read_bytes()
        except OSError as error:
            raise StartupError(f"{flag}: can't read {path}: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # Without a password OpenSSL would ask for it on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise StartupError(
            f"--tls-cert {certificate} and --tls-key {key} can't be used ({reason}): both must be PEM files, "
            "the key without a password and that of the certificate"
        ) from None
