"""Judging a page's accessibility by axe-core, which `make test` puts beside the other tools."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

SOURCE = Path(__file__).parents[2] / ".venv/axe/node_modules/axe-core/axe.min.js"
RUN = """() => axe.run(document, {
    runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
    resultTypes: ['violations'],
})"""


def violations(page: Page) -> list[str]:
    """What breaks WCAG 2.2 AA, or axe's best practices, in what the page shows now."""
    if not SOURCE.exists():
        pytest.skip("needs axe-core: make .venv/.axe")
    if not page.evaluate("'axe' in globalThis"):
        # as the debugger does it: the page's policy lets no foreign script in, and stays as it is
        page.evaluate(SOURCE.read_text() + "; undefined")
    result: dict[str, Any] = page.evaluate(RUN)
    return [
        f"{rule['id']}: {node['html'][:200]} {node['failureSummary']}"
        for rule in result["violations"]
        for node in rule["nodes"]
    ]
