"""Certificates for tests, and how a server is told to use them."""

import subprocess
from pathlib import Path


class Tls:
    """Certificates in a folder of their own, and the options of a server that speaks TLS only and asks for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca, self.cert, self.key = (str(folder / name) for name in ("ca.crt", "client.crt", "client.key"))
        if not Path(self.ca).exists():
            folder.mkdir(parents=True, exist_ok=True)
            make_certificates(folder)

    @property
    def settings(self) -> dict[str, str]:
        """Of a manager."""
        return {"redis_tls_ca_file": self.ca, "redis_tls_cert_file": self.cert, "redis_tls_key_file": self.key}

    def options(self, port: int) -> tuple[str, ...]:
        server = str(self.folder / "server")
        listening = ("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "yes", "--tls-replication", "yes")
        files = ("--tls-ca-cert-file", self.ca, "--tls-cert-file", f"{server}.crt", "--tls-key-file", f"{server}.key")
        return (*listening, *files)


def supports_tls(program: Path) -> bool:
    """Which of two options the server complains of first tells; it never starts."""
    command = [str(program), "--tls-port", "0", "--no-such-option", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return "no-such-option" in done.stdout + done.stderr


def make_certificates(folder: Path) -> None:
    """A CA and, signed by it, a server's and a client's certificate, as strict as Python 3.13 wants them."""
    ids = "subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n"
    sections = (
        "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = chat-session tests\n",
        f"[ca]\n{ids}basicConstraints = critical, CA:TRUE\nkeyUsage = critical, keyCertSign, cRLSign\n",
        f"[server]\n{ids}extendedKeyUsage = serverAuth, clientAuth\nsubjectAltName = IP:127.0.0.1, DNS:localhost\n",
        f"[client]\n{ids}extendedKeyUsage = clientAuth\n",
    )
    (folder / "openssl.cnf").write_text("".join(sections))
    new = "req -config openssl.cnf -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    _openssl(folder, f"{new} -x509 -extensions ca -days 2 -keyout ca.key -out ca.crt")
    for name in ("server", "client"):
        _openssl(folder, f"{new} -subj /CN={name} -keyout {name}.key -out {name}.csr")
        signed = f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out {name}.crt"
        _openssl(folder, f"{signed} -extfile openssl.cnf -extensions {name}")


def _openssl(folder: Path, arguments: str) -> None:
    command = ["openssl", *arguments.split()]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"openssl {arguments}:\n{done.stderr}")
