"""Write the documents: ``python -m contract``."""

import json
from collections.abc import Callable
from typing import Any

from contract import asyncapi, openapi
from contract.docs import ROOT

DOCUMENTS: dict[str, Callable[[], dict[str, Any]]] = {
    "openapi.json": openapi.document,
    "asyncapi.json": asyncapi.document,
}


def text(name: str) -> str:
    """A document as it stands in ``static/``."""
    return json.dumps(DOCUMENTS[name](), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name in DOCUMENTS:
        (ROOT / "static" / name).write_text(text(name))
