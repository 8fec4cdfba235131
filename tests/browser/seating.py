"""What people see and do where seats are sold."""

import re

from playwright.sync_api import Locator

from tests.browser.conftest import Visitor


def seat(visitor: Visitor, section: str, row: int, number: int, state: str = "") -> Locator:
    """A seat by its name, in a state: ``available``, ``yours``, ``held by someone else`` or ``sold``."""
    price = r"(₩[\d,]+, )?"
    name = rf"^Section {section}, row {row}, seat {number}, {price}{state}" + ("$" if state else "")
    return visitor.page.get_by_role("gridcell", name=re.compile(name))


def basket(visitor: Visitor) -> Locator:
    """What the visitor holds."""
    return visitor.page.get_by_role("region", name="Your seats")


def warning(visitor: Visitor) -> Locator:
    return visitor.page.get_by_role("alert").get_by_text("Your hold ends in less than 30 seconds.")


def room(visitor: Visitor) -> Locator:
    """The dialog of the waiting room."""
    return visitor.page.get_by_role("dialog", name="Waiting room")


def press(visitor: Visitor, button: str) -> None:
    visitor.page.get_by_role("button", name=button).click()
