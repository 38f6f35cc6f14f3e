"""A real browser: a page's errors fail the test; and what makes a page hard to use for some people."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright, which runs an event loop of its own: it must end before other tests begin."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no Playwright here: .ci/browser installs it")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no Chromium on PATH: .ci/browser installs it")
    sandbox = ["--no-sandbox"] if hasattr(os, "getuid") and os.getuid() == 0 else []
    with sync_api.sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=chromium, args=sandbox)
        yield made
        made.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens an address in a context of its own: `width` in pixels, `scheme` light or dark.

    `expected` is in the one complaint of the browser that the test is about.
    """
    contexts, errors, expectations = list[Any](), list[str](), list[str]()

    def opened(url: str, *, width: int = 1000, scheme: str = "light", expected: str = "nothing") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        expectations.append(expected)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}"))
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert [error for error in errors if not any(text in error for text in expectations)] == []


def look_for_faults(page: Any) -> None:
    """Fail on what axe finds serious or critical, and where the page is wider than its window."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    told = [f"{one['id']}: {[node['target'] for node in one['nodes']]}" for one in found]
    assert [text for text, one in zip(told, found, strict=True) if one["impact"] in ("serious", "critical")] == []
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide == 0, f"the page is {wide} px wider than its window"
