"""Pictures of every page, light, dark and on a phone: ``python -m tests.console.shots`` (or ``make screenshots``).

Starts the real service on a shop of its own, does a DBA's day on it, and photographs what there is to see. With --base
and --key it photographs a service that runs already.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
PLAIN = {
    "overview": "/",
    "workbench": "/workbench",
    "rewrites": "/rewrites",
    "queue": "/queue",
    "approved": "/queue?state=approved",
    "verify": "/verify",
    "logs": "/logs",
    "rules": "/rules",
    "rule": "/rules/subquery/scalar_aggregate_to_join",
    "rule_editor": "/rules/new",
    "targets": "/targets",
    "keys": "/keys",
    "model": "/model",
    "audit": "/audit",
    "patterns": "/patterns",
    "missing": "/no-such-page",
}


def launched(playwright: Any) -> Any:
    """Debian's Chromium, as this kind of machine runs it."""
    return playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)


def sign_in(page: Any, base: str, key: str) -> None:
    page.goto(f"{base}/console/sign-in")
    page.fill("#key", key)
    page.click("main button")
    page.wait_for_url(f"{base}/console/")


def places(page: Any, base: str) -> Iterator[tuple[str, str]]:
    """The plain pages, and one of each kind of thing that was made."""
    yield from PLAIN.items()
    for name, path, pattern in (
        ("rewrite", "/rewrites?state=done", "a.sql"),
        ("failed", "/rewrites?state=failed", "a.sql"),
        ("verification", "/verify", "tr:has(.tag.bad) a.sql"),
        ("log", "/logs", "td a"),
    ):
        page.goto(f"{base}/console{path}")
        found = page.query_selector_all(f"main {pattern}")
        if name == "rewrite":
            better = page.query_selector_all("main tr:has(strong.good) a.sql")
            found = better or found
        if found:
            yield name, str(found[-1].get_attribute("href")).removeprefix("/console")


def photograph(base: str, key: str, out: Path, only: str | None = None) -> int:
    """All pages in all forms; how many pictures."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    number = 0
    with sync_playwright() as playwright:
        browser = launched(playwright)
        for size, (width, height) in SIZES.items():
            for theme in ("light", "dark"):
                if size == "phone" and theme == "dark":
                    continue
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
                page = context.new_page()
                if only is None:
                    page.goto(f"{base}/console/sign-in")
                    page.screenshot(path=out / f"sign_in-{size}-{theme}.png")
                sign_in(page, base, key)
                for name, path in list(places(page, base)):
                    if only is not None and name not in only.split(","):
                        continue
                    page.goto(f"{base}/console{path}")
                    page.wait_for_load_state("networkidle")
                    page.screenshot(path=out / f"{name}-{size}-{theme}.png", full_page=True)
                    number += 1
                context.close()
        browser.close()
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/shots"))
    parser.add_argument("--base", help="a service that runs already")
    parser.add_argument("--key", help="an admin's key of it")
    parser.add_argument("--only", help="names of pages, with commas")
    given = parser.parse_args()
    if given.base is not None:
        number = photograph(given.base, given.key, given.out, given.only)
    else:
        from tests.console.day import lived

        with lived() as (base, key):
            number = photograph(base, key, given.out, given.only)
    print(f"{number} pictures in {given.out}")  # noqa: T201


if __name__ == "__main__":
    main()
