"""Certificates for tests, and servers that use them."""

import subprocess
from pathlib import Path
from typing import Self

import redis

from testkit.ports import HOST
from testkit.programs import need_tls
from testkit.servers import Server


class Tls:
    """Certificates in a folder of their own. Servers with these options speak TLS only and ask for certificates."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca, self.cert, self.key = (str(folder / name) for name in ("ca.crt", "client.crt", "client.key"))
        if not Path(self.ca).exists():
            folder.mkdir(parents=True, exist_ok=True)
            make_certificates(folder)

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a manager that connects with these certificates."""
        return {"redis_tls_ca_file": self.ca, "redis_tls_cert_file": self.cert, "redis_tls_key_file": self.key}

    def options(self, port: int) -> tuple[str, ...]:
        server = str(self.folder / "server")
        listening = ("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "yes", "--tls-replication", "yes")
        files = ("--tls-ca-cert-file", self.ca, "--tls-cert-file", f"{server}.crt", "--tls-key-file", f"{server}.key")
        return (*listening, *files)


class TlsServer(Server):
    """A server that speaks TLS only and asks for client certificates. It has the users "chat" and "admin".

    Its Unix socket needs no TLS: tests use it to look at what is stored.
    """

    password = "chat-password"
    admin_password = "admin-password"

    def __init__(self, program: Path, folder: Path, *, acl: str, options: tuple[str, ...] = ()) -> None:
        """``acl``: the rules of the user "chat", such as ``+evalsha ~session:*``."""
        super().__init__(program, folder)
        self.acl = acl
        self.tls = Tls(folder)
        self.options = (*self.tls.options(self.port), "--aclfile", str(folder / "users.acl"), *options)

    @property
    def url(self) -> str:
        return f"rediss://chat:{self.password}@{HOST}:{self.port}/0"

    def client(self, database: int = 0) -> redis.Redis:
        """The administrator's client, over the Unix socket."""
        return redis.Redis(
            unix_socket_path=str(self.socket), db=database, username="admin", password=self.admin_password
        )

    def start(self) -> Self:
        """Raises MissingProgram if the server was built without TLS."""
        need_tls(self.program)
        users = (
            "user default off",
            f"user admin on >{self.admin_password} ~* &* +@all",
            f"user chat on >{self.password} {self.acl}",
        )
        (self.folder / "users.acl").write_text("\n".join([*users, ""]))
        return super().start()


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
