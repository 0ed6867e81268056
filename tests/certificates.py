import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

VALID = ("20250101000000Z", "20491231000000Z")
EXPIRED = ("20200101000000Z", "20200201000000Z")

CONFIG = """
[req]
distinguished_name = none
[none]
[ca]
default_ca = here
[here]
new_certs_dir = .
database = index.txt
default_md = sha256
policy = any
rand_serial = yes
email_in_dn = no
[any]
commonName = supplied
[names]
subjectAltName = DNS:{name}
basicConstraints = critical, CA:TRUE
"""


@dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for one name, with its key, as PEM files."""

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def trusting_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.certificate))


def make_certificate(folder: Path, name: str, *, dates: tuple[str, str] = VALID) -> Certificate:
    """Let the machine's openssl make a certificate in `folder`, which it fills with its notes."""
    (folder / "openssl.cnf").write_text(CONFIG.format(name=name))
    (folder / "index.txt").write_text("")
    _openssl(
        folder,
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config openssl.cnf"
        f" -keyout key.pem -out request.pem -subj /CN={name}",
    )
    _openssl(
        folder,
        "ca -batch -selfsign -notext -config openssl.cnf -extensions names -keyfile key.pem -in request.pem"
        f" -out certificate.pem -startdate {dates[0]} -enddate {dates[1]}",
    )
    return Certificate(folder / "certificate.pem", folder / "key.pem")


def _openssl(folder: Path, command: str) -> None:
    made = subprocess.run(["openssl", *command.split()], cwd=folder, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
