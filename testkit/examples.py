"""The programs in ``examples``, run as a reader would run them."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def run_example(name: str, *arguments: str, may_warn: bool = False) -> str:
    """What an example prints. It must succeed, and write nothing to standard error unless it ``may_warn``."""
    env = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments], capture_output=True, env=env, timeout=20, check=False
    )
    assert (done.returncode, b"" if may_warn else done.stderr) == (0, b""), done.stderr.decode()
    return done.stdout.decode()
