"""A DBA's day in a real browser, on the real service with its worker. Needs Debian's Chromium, and playwright."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import ADMIN, Client, running
from tests.console.day import LOG, OTHER, WRONG
from tests.console.shots import launched, sign_in
from tests.shop import SLOW

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow

AXE = Path(__file__).parent / "vendor" / "axe-4.14.1.min.js"
LIGHT = 150_000  # bytes that a page may cost at first sight
PATIENCE = 60_000  # milliseconds that a loaded machine may take for a job
WATCH = """
document.addEventListener("securitypolicyviolation", (event) => {
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""


@pytest.fixture(scope="module")
def service(shop_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with running(tmp_path_factory.mktemp("day"), REWRITER_TARGET=shop_url) as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not Path("/usr/bin/chromium").exists():
        pytest.skip("there is no /usr/bin/chromium (apt-get install chromium)")
    with sync_api.sync_playwright() as playwright:
        chromium = launched(playwright)
        yield chromium
        chromium.close()


class Watched:
    """A page with everything in it that went wrong."""

    def __init__(self, browser: Any, base: str, **context: Any) -> None:
        self.base = base
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **context)
        self.context.set_default_timeout(30_000)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.add_init_script(WATCH)
        self.page.on("console", lambda told: self.wrong.append(told.text) if told.type == "error" else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", self._dialog)

    def _dialog(self, dialog: Any) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def go(self, path: str) -> Any:
        self.page.goto(f"{self.base}/console{path}")
        return self.page

    def write(self, label: str, text: str) -> None:
        """Into the editor that has replaced the text area with this label."""
        editor = self.page.get_by_label(label, exact=True).locator(
            "xpath=ancestor::*[contains(@class,'CodeMirror')][1]"
        )
        editor.locator(".CodeMirror-lines").click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)


@pytest.fixture
def dba(browser: Any, service: Client) -> Iterator[Watched]:
    watched = Watched(browser, f"http://127.0.0.1:{service.port}")
    sign_in(watched.page, watched.base, ADMIN)
    yield watched
    watched.context.close()
    assert not watched.wrong


def test_a_slow_query_is_pasted_watched_read_and_approved(dba: Watched, service: Client) -> None:
    page = dba.go("/workbench")
    dba.write("Slow query", "SELECT * FROM sal")
    # Not wait_for_function, which the page's policy forbids: it would be eval.
    names = "Object.keys(document.querySelector('.CodeMirror').CodeMirror.getOption('hintOptions').tables)"
    while "sale" not in page.evaluate(names):
        page.wait_for_timeout(50)
    page.keyboard.press("Control+Space")
    page.wait_for_selector(".CodeMirror-hints >> text=sale")
    page.keyboard.press("Escape")
    dba.write("Slow query", SLOW)
    page.fill("#runs_per_day", "2000")
    page.check("input[value=quick]", force=True)
    page.keyboard.press("Tab")
    page.click(".bench button.main")
    page.wait_for_url("**/console/rewrites/*")
    page.wait_for_selector("#progress .track li.now", timeout=PATIENCE)
    page.wait_for_selector("#progress .live-list td", timeout=PATIENCE)
    page.wait_for_selector("h1.good", timeout=PATIENCE)
    assert "faster" in page.inner_text("h1")
    assert page.query_selector(".diff-row.added") is not None
    assert page.query_selector("tr.telling") is not None
    assert len(page.query_selector_all(".lane.chosen circle")) >= 3
    page.select_option("#mode", "on")
    page.click("button:has-text('Approve')")
    page.wait_for_selector(".said")
    job = page.url.partition("?")[0].rpartition("/")[2]
    review = service("GET", f"/v1/rewrites/{job}").json["review"]
    assert (review["state"], review["mode"]) == ("approved", "on")
    answer = service("POST", "/v1/lookup", {"sql": SLOW}).json
    assert answer["found"]
    # The overview tells the gain.
    assert page.query_selector("dd.good") is not None
    dba.go("/")
    assert "1 rewrite switched on" in page.inner_text("main")
    # Back to the queue, and through it by keyboard.
    service("PUT", f"/v1/rewrites/{job}/review", {"decision": "waiting"})
    page = dba.go("/queue")
    page.keyboard.press("?")
    assert page.is_visible("dialog#keys")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert page.query_selector("tr.here") is not None
    page.keyboard.press("a")
    page.wait_for_selector(".said")
    assert service("GET", f"/v1/rewrites/{job}").json["review"]["state"] == "approved"


def test_a_wrong_rewrite_by_hand_is_refused_with_its_counterexample(dba: Watched) -> None:
    page = dba.go("/verify")
    dba.write("Original", WRONG[0])
    dba.write("To replace it", WRONG[1])
    page.click("button:has-text('Verify')")
    page.wait_for_url("**/console/verify/*")
    page.wait_for_selector("h1.bad", timeout=PATIENCE)
    assert page.inner_text("h1") == "They differ"
    assert page.query_selector(".tables .null") is not None
    assert page.query_selector(".track") is None


def test_a_log_is_uploaded_and_its_groups_become_rewrites(dba: Watched, service: Client) -> None:
    page = dba.go("/logs")
    page.set_input_files("#log", {"name": "postgresql.log", "mimeType": "text/plain", "buffer": LOG.encode()})
    page.click("button:has-text('Upload')")
    page.wait_for_url("**/console/logs/*")
    page.wait_for_selector("#groups tbody tr", timeout=PATIENCE)
    first = page.inner_text("#groups tbody tr >> nth=0")
    assert OTHER[:30] in first
    page.wait_for_selector("#groups tbody tr:first-child .tag.good:has-text('done')", timeout=PATIENCE)
    with page.expect_download() as download:
        page.click("text=Export CSV")
    assert OTHER[:30] in Path(download.value.path()).read_text()


def test_hostile_sql_is_text_everywhere(dba: Watched, service: Client) -> None:
    hostile = "<img src=x onerror=alert(1)><script>alert(1)</script>"
    page = dba.go("/workbench")
    dba.write("Slow query", f"SELECT id AS \"{hostile}\" FROM shop WHERE city = '{hostile}' -- {hostile}")
    page.check("input[value=quick]", force=True)
    page.keyboard.press("Control+Enter") if page.evaluate(
        "document.activeElement.tagName"
    ) == "TEXTAREA" else page.click(".bench button.main")
    page.wait_for_url("**/console/rewrites/*")
    page.wait_for_selector("#texts, .trouble", timeout=PATIENCE)
    address = page.url.partition("/console")[2]
    for path in (address, "/rewrites", "/workbench", "/", "/audit"):
        dba.go(path)
        page.wait_for_load_state("networkidle")
        assert page.query_selector("img[src=x]") is None
        assert page.query_selector("script:not([src])") is None
    assert hostile in dba.go(address).inner_text("main")


def test_it_works_without_a_script_and_keeps_its_theme(browser: Any, service: Client, dba: Watched) -> None:
    page = dba.go("/patterns")
    dark = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(dark)
    page.click("button:has-text('Theme')")
    page.reload()
    assert page.get_attribute("html", "data-theme") == "dark"
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") != before
    plain = Watched(browser, dba.base, java_script_enabled=False)
    sign_in(plain.page, plain.base, ADMIN)
    page = plain.go("/workbench")
    page.fill("textarea", "SELECT count(*) FROM shop")
    page.check("input[value=quick]", force=True)
    page.click(".bench button.main")
    page.wait_for_url("**/console/rewrites/*")
    deadline = time.monotonic() + PATIENCE / 1000
    while page.query_selector("#texts") is None and time.monotonic() < deadline:
        page.wait_for_timeout(300)
        page.reload()
    assert page.query_selector("#texts") is not None
    plain.context.close()


def test_every_page_is_accessible_light_and_fits_a_phone(browser: Any, service: Client, dba: Watched) -> None:
    """Runs last: it looks at what the others have made."""
    found = dict.fromkeys(("/", "/workbench", "/rewrites", "/queue?state=approved", "/verify", "/logs"))
    found |= dict.fromkeys(("/rules", "/rules/subquery/scalar_aggregate_to_join", "/targets", "/keys", "/audit"))
    found |= {"/patterns": None, "/model": None}
    for listing, selector in (("/rewrites", "tr:has(strong.good) a.sql"), ("/verify", "td a.sql"), ("/logs", "td a")):
        link = dba.go(listing).query_selector(f"main {selector}")
        if link is not None:
            found[str(link.get_attribute("href")).removeprefix("/console")] = None
    assert len(found) >= 15
    axe = AXE.read_text()
    for theme in ("light", "dark"):
        dba.context.add_cookies([{"name": "rewriter_theme", "value": theme, "url": f"{dba.base}/console"}])
        # All parts are on the patterns page, so the dark colours are looked at there.
        for path in found if theme == "light" else ["/patterns", "/workbench"]:
            page = dba.go(path)
            page.evaluate(axe)
            result = page.evaluate("axe.run({resultTypes: ['violations']})")
            serious = [
                (one["id"], [node["html"][:200] for node in one["nodes"][:3]])
                for one in result["violations"]
                if one["impact"] in ("serious", "critical")
            ]
            assert not serious, (path, theme, json.dumps(serious, indent=1))
    dba.page.set_viewport_size({"width": 390, "height": 844})
    for path in found:
        page = dba.go(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    fresh = browser.new_context(storage_state=dba.context.storage_state())
    for path in found:
        if path in ("/workbench", "/verify"):
            continue
        page, sizes = fresh.new_page(), []
        client = fresh.new_cdp_session(page)
        client.send("Network.enable")
        client.send("Network.setCacheDisabled", {"cacheDisabled": True})
        client.on("Network.loadingFinished", lambda told, sizes=sizes: sizes.append(told["encodedDataLength"]))
        page.goto(f"{dba.base}/console{path}")
        page.wait_for_timeout(100)
        assert 0 < sum(sizes) < LIGHT, path
        page.close()
    fresh.close()
