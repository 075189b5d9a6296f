"""The other releases of Python on this machine. Each has an environment in which the package is installed.

``python testkit/pythons.py FOLDER`` makes the environments, and ``find_pythons`` finds them.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
OWN = "{}.{}".format(*sys.version_info)


def find_installed(release: str) -> Path | None:
    found = shutil.which(f"python{release}")
    if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
        return Path(found)
    kept = sorted(Path.home().glob(f".pyenv/versions/{release}.*/bin/python"))
    return kept[-1] if kept else None


# Those that pyproject.toml names, and later ones where the machine has them.
RELEASES = ("3.11", "3.12", "3.13", *filter(find_installed, ("3.14", "3.15", "3.16")))


def find_pythons() -> dict[str, Path]:
    """The interpreters that have the package, by release: this one, and those that were made ready."""
    others = {release: Path(sys.prefix, "pythons", release, "bin", "python") for release in RELEASES if release != OWN}
    return {OWN: Path(sys.executable)} | {release: python for release, python in others.items() if python.exists()}


def make_ready(folder: Path) -> None:
    for release in RELEASES:
        python = find_installed(release)
        if release == OWN:
            continue
        if python is None:
            print(f"no Python {release} on this machine: the tests of it are skipped", file=sys.stderr)
            continue
        environment = folder / release
        subprocess.run([python, "-m", "venv", "--clear", environment], check=True)
        pip: list[str | Path] = [
            environment / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", "--editable", ROOT, "gunicorn"], check=True)


if __name__ == "__main__":
    make_ready(Path(sys.argv[1]))
