"""The examples of the adapters run as they are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(("name", "framework"), [("pydantic_ai", "pydantic_ai"), ("llama_index", "llama_index.core")])
def test_the_example_refuses_the_late_reply(name: str, framework: str) -> None:
    pytest.importorskip(framework)
    example = ROOT / "examples" / "adapters" / f"{name}.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    run = subprocess.run([sys.executable, str(example)], capture_output=True, text=True, check=True, env=environment)
    lines = run.stdout.splitlines()
    assert lines[:3] == [
        "agent: Your parcel is in Lyon (order 17).",
        "refused: the late reply",
        "user: Where is my parcel?",
    ]
    assert sorted(lines[3:]) == [
        "assistant: Your parcel is in Lyon (order 17).",
        "operator: Bob here, I have stopped it.",
        "system: Bob took over",
        "user: Can you send it back?",
    ]
