"""Every page in its states: answered, escaped, under its policy, light, with the same as JSON beside it."""

from __future__ import annotations

import gzip
import hashlib
import html
import http.client
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from api.console import POLICY
from api.console.assets import FOREVER, STATIC, address
from rewriter.report.model import ReportModel
from rewriter.store.jobs import Filter
from tests.console.conftest import ADMIN, Browser, Console
from tests.examples import HOSTILE

LIGHT = 150_000  # bytes that the first look at a page may cost, but for those with the editor
EDITORS = {"/console/workbench", "/console/verify"}
PAGES = [
    "/console/",
    "/console/workbench",
    "/console/workbench?rewrite={waiting}",
    "/console/rewrites",
    "/console/rewrites?state=failed&target=default",
    "/console/rewrites?state=dead",
    *(f"/console/rewrites/{{{name}}}" for name in ("waiting", "approved", "rejected", "disabled", "invalid", "kept")),
    *(f"/console/rewrites/{{{name}}}" for name in ("failed", "running", "queued")),
    *(f"/console/queue?state={state}" for state in ("waiting", "approved", "rejected", "disabled")),
    "/console/verify",
    "/console/verify?again={verification}",
    "/console/verify/{verification}",
    "/console/logs",
    "/console/logs/{log}",
    "/console/rules",
    "/console/rules?search=no-such-rule",
    "/console/rules/subquery/scalar_aggregate_to_join",
    "/console/rules/new",
    "/console/targets",
    "/console/keys",
    "/console/model",
    "/console/audit",
    "/console/patterns",
]


@pytest.fixture(scope="module")
def admin(console: Console) -> Browser:
    return console.browser("admin")


class _Checked(HTMLParser):
    """What a page is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.twin: str | None = None
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.wrong += [f"{tag} {name}" for name in given if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and not given.get("src")):
            self.wrong.append(f"inline {tag}")
        self.ids += [given["id"] or ""] if "id" in given else []
        if tag == "script" or (tag == "link" and given.get("rel") in ("stylesheet", "icon")):
            self.loaded.append(str(given.get("src") or given.get("href")))
        if tag == "link" and given.get("rel") == "alternate":
            self.twin = given.get("href")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_sound(console: Console, admin: Browser, page: str) -> None:
    path = page.format(**console.made)
    answer = admin.get(path)
    assert answer.status == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert HOSTILE not in answer.text
    assert "\u202e" not in answer.text
    checked = _Checked()
    checked.feed(answer.text)
    assert not checked.wrong
    assert len(checked.ids) == len(set(checked.ids))
    assert checked.tags.count("h1") == 1
    assert all(place.startswith("/console/static/") for place in checked.loaded)
    if path.partition("?")[0] not in EDITORS:
        weight = len(admin.get(path, {"Accept-Encoding": "gzip"}).raw)
        weight += sum(len(admin.get(place, {"Accept-Encoding": "gzip"}).raw) for place in checked.loaded)
        assert weight < LIGHT
    if checked.twin is not None:
        twin = Browser(console.port).get(checked.twin, {"Authorization": f"Bearer {ADMIN}"})
        assert twin.status == 200
        json.loads(twin.raw)
    else:
        assert path == "/console/patterns"


def test_what_is_hostile_is_shown_as_text_where_people_look_for_it(console: Console, admin: Browser) -> None:
    escaped = "&lt;script&gt;"
    for page in (
        "/console/",
        "/console/rewrites/{waiting}",
        "/console/rewrites/{running}",
        "/console/rewrites/{failed}",
        "/console/queue",
        "/console/queue?state=rejected",
        "/console/verify/{verification}",
        "/console/logs/{log}",
        "/console/keys",
        "/console/audit",
    ):
        assert escaped in admin.get(page.format(**console.made)).text, page


def test_a_page_that_is_not_there_and_a_thing_that_is_not_there(console: Console, admin: Browser) -> None:
    for path in ("/console/nothing", "/console/rewrites/ffff", f"/console/verify/{console.made['waiting']}"):
        answer = admin.get(path)
        assert answer.status == 404
        assert "Sign out" in answer.text  # the frame, and so the way on, is there
        assert answer.headers["content-security-policy"] == POLICY
    refused = admin.get("/console/queue?state=nonsense")
    assert refused.status == 422
    assert "nonsense" not in refused.text


def test_vendored_files_are_those_of_the_manifest_with_their_licences() -> None:
    vendor = STATIC / "vendor"
    lines = (vendor / "MANIFEST.sha256").read_text().splitlines()
    told = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = {str(path.relative_to(vendor)): path for path in vendor.rglob("*") if path.is_file()}
    del files["MANIFEST.sha256"]
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()} == told
    listed = (vendor / "THIRD_PARTY.md").read_text()
    for name in files:
        if name.endswith((".js", ".css")):
            package = name.partition("/")[0]
            assert f"`{package}" in listed
            licence = vendor / package / "LICENSE" if "/" in name else vendor / name.replace(".min.js", ".LICENSE")
            assert licence.is_file()


def test_static_files_are_kept_for_ever_under_their_hash(admin: Browser) -> None:
    place = address("console.css")
    answer = admin.get(place, {"Accept-Encoding": "gzip"})
    assert answer.status == 200
    assert answer.headers["cache-control"] == FOREVER
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(answer.raw) == (STATIC / "console.css").read_bytes()
    tag = place.split("/")[3]
    for wrong in (
        place.replace(tag, "0" * 16),
        f"/console/static/{tag}/../__init__.py",
        f"/console/static/{tag}/%2e%2e/__init__.py",
        f"/console/static/{tag}//etc/passwd",
    ):
        assert admin.get(wrong).status == 404


def test_nothing_of_ours_or_theirs_needs_an_inline_style_or_eval() -> None:
    for path in STATIC.glob("*.js"):
        text = path.read_text()
        assert not re.search(r"\beval\b|new Function|setAttribute\(.style|\.style\b|https?://", text), path.name
    assert not re.search(r"url\(|@import|https?://", (STATIC / "console.css").read_text())
    for template in (Path(STATIC).parent / "templates").rglob("*.html"):
        assert "|safe" not in template.read_text().replace(" ", ""), template.name


def test_reviews_are_decided_one_by_one_and_together(console: Console) -> None:
    operator, reviews = console.browser("operator"), console.store.reviews("default")

    def state(name: str) -> tuple[str, str]:
        found = reviews.find(console.made[name])
        assert found is not None
        return found.state, found.mode

    one = f"/console/rewrites/{console.made['waiting']}/review"
    assert operator.post(one, {"decision": "rejected", "reason": "not now"}).status == 303
    assert state("waiting")[0] == "rejected"
    assert "not now" in operator.get(f"/console/rewrites/{console.made['waiting']}").text
    both = [console.made["waiting"], console.made["invalid"]]
    # What no longer holds cannot be approved; nor can anything be while the target cannot show the catalog it rests on.
    told = operator.post("/console/queue", {"decision": "approved", "mode": "canary", "chosen": both})
    assert told.status == 200
    assert "could not be decided" in told.text
    back = operator.post("/console/queue", {"decision": "waiting", "chosen": both[0], "state": "rejected"})
    assert back.status == 303
    assert state("waiting")[0] == "waiting"
    assert operator.post("/console/queue", {"decision": "rejected"}).status == 422


def test_targets_are_registered_checked_and_switched(console: Console) -> None:
    admin = console.browser("admin")
    wrong = admin.post("/console/targets", {"name": "Not A Name", "url": "env:HOME"})
    assert wrong.status == 422
    secret = admin.post("/console/targets", {"name": "x", "url": "postgresql://u:hush@169.254.169.254/d"})
    assert secret.status == 422
    assert "hush" not in secret.text
    made = admin.post("/console/targets", {"name": "near", "url": "postgresql://u:hush@127.0.0.1:1/d", "runs": "true"})
    assert made.status == 303
    assert "hush" not in admin.get("/console/targets").text
    assert admin.post("/console/targets/near/check").status == 503
    assert "not reached" in admin.get("/console/").text
    assert admin.post("/console/targets/near/switch", {"what": "enabled", "on": "false"}).status == 303
    near = console.store.targets("default").find("near")
    assert near is not None
    assert not near.enabled
    assert admin.post("/console/targets/near/remove").status == 303
    assert admin.post("/console/targets/default/check").status == 303
    names = json.loads(admin.get("/console/targets/default/names").raw)
    assert {tuple(columns) for columns in names.values()} == {("id", "shop", "amount")}


def test_a_rule_is_found_by_its_words_and_switched_for_a_target(console: Console) -> None:
    operator = console.browser("operator")
    part = operator.get("/console/rules?search=scalar+aggregate", {"HX-Request": "true"}).text
    assert "scalar_aggregate_to_join" in part
    assert "<html" not in part
    name = "subquery/scalar_aggregate_to_join"
    for on in ("false", "true"):
        assert operator.post(f"/console/rules/{name}/switch", {"target": "default", "on": on}).status == 303
        assert (name in console.store.targets("default").rules_off("default")) == (on == "false")


def test_a_rule_of_ones_own_is_written_checked_and_put_away(console: Console) -> None:
    operator = console.browser("operator")
    start = html.unescape(operator.get("/console/rules/new").text)
    document = re.search(r"<textarea[^>]*>(.*?)</textarea>", start, re.DOTALL)
    assert document is not None
    text = document[1].replace("\n", "\r\n")  # as a browser sends it
    said = operator.post("/console/rules/form", {"text": "no document"}).text
    assert "bad" in said
    assert "has the form of a rule" in operator.post("/console/rules/form", {"text": text}).text
    assert operator.post("/console/rules/new", {"name": "own/mine", "text": "no document"}).status == 422
    assert operator.post("/console/rules/new", {"name": "No name", "text": text}).status == 422
    assert operator.post("/console/rules/new", {"name": "own/mine", "text": text}).status == 303
    edit = operator.get("/console/rules/own/mine/edit").text
    assert "draft" in edit
    assert "not been checked yet" in edit
    assert operator.post("/console/rules/own/mine/edit", {"text": text, "then": "check"}).status == 303
    (job,) = console.store.jobs("default").listed(Filter("rule"))
    assert job.request == {"name": "own/mine", "approve": False}
    waiting = operator.get("/console/rules/own/mine/check").text
    assert "hx-get" in waiting
    console.store.jobs("default").cancel(job.id)
    assert "hx-get" not in operator.get("/console/rules/own/mine/check").text
    assert operator.post("/console/rules/own/mine/decide", {"status": "retired", "reason": "enough"}).status == 303
    assert "enough" in operator.get("/console/rules/own/mine").text
    assert operator.get("/console/rules/subquery/scalar_aggregate_to_join/edit").status == 422


def _multipart(token: str, name: str, content: bytes, **fields: str) -> tuple[bytes, dict[str, str]]:
    parts = [
        f'--B\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'.encode()
        for key, value in fields.items()
    ]
    parts.append(f'--B\r\nContent-Disposition: form-data; name="token"\r\n\r\n{token}\r\n'.encode())
    head = f'--B\r\nContent-Disposition: form-data; name="log"; filename="{name}"\r\nContent-Type: text/plain\r\n\r\n'
    body = b"".join(parts) + head.encode() + content + b"\r\n--B--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=B"}


def test_a_log_is_taken_in_and_one_that_is_too_large_is_not(console: Console) -> None:
    operator = console.browser("operator")
    uploads = console.settings.state_directory / "uploads"
    fields = {"target": "default", "dialect": "postgres", "top": "3", "effort": "quick"}
    taken = operator("POST", "/console/logs", *_multipart(operator.token(), "../../a.sql.gz", b"SELECT 1;", **fields))
    assert taken.status == 303
    job = console.store.jobs("default").find(taken.headers["location"].rpartition("/")[2])
    assert job is not None
    assert job.request["name"] == "a.sql.gz"
    (kept,) = uploads.iterdir()
    assert kept.read_bytes() == b"SELECT 1;"
    assert kept.stat().st_mode & 0o077 == 0
    large = b"x" * (console.settings.upload_bytes + 100_000)
    refused = operator("POST", "/console/logs", *_multipart(operator.token(), "b.sql", large, **fields))
    assert refused.status == 422
    assert "larger than" in refused.text
    empty = operator("POST", "/console/logs", *_multipart(operator.token(), "", b"", **fields))
    assert "There is no log yet" in empty.text
    unknown = operator(
        "POST", "/console/logs", *_multipart(operator.token(), "c.sql", b"SELECT 1", **(fields | {"target": "far"}))
    )
    assert unknown.status == 422
    assert len(list(uploads.iterdir())) == 1
    assert operator.post(f"{taken.headers['location']}/cancel").status == 303


def test_a_log_s_table_as_csv_holds_no_formula(console: Console, admin: Browser) -> None:
    answer = admin.get(f"/console/logs/{console.made['log']}/groups.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    lines = answer.text.splitlines()
    assert len(lines) == 3
    assert ",'=1+1" in lines[2] or ",\"'=1+1" in lines[2]


def test_downloads_are_files_and_the_patch_makes_the_rewrite(console: Console, admin: Browser) -> None:
    base = f"/console/rewrites/{console.made['approved']}/download"
    found = {
        name: admin.get(f"{base}/{name}") for name in ("rewrite.sql", "change.patch", "report.html", "report.json")
    }
    for answer in found.values():
        assert answer.status == 200
        assert answer.headers["content-disposition"].startswith("attachment;")
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-security-policy"] == "sandbox"
    body = found["change.patch"].text.splitlines()[3:]
    after = "\n".join(line[1:] for line in body if line[:1] in " +")
    before = "\n".join(line[1:] for line in body if line[:1] in " -")
    assert after == found["rewrite.sql"].text.rstrip("\n")
    report = ReportModel.model_validate_json(found["report.json"].raw)
    assert before == report.qualified
    assert HOSTILE not in found["report.html"].text
    assert admin.get(f"/console/rewrites/{console.made['kept']}/download/rewrite.sql").status == 404


def test_progress_is_told_as_it_happens_until_the_end(console: Console) -> None:
    operator = console.browser("operator")
    job = console.made["queued"]
    connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=20)
    cookies = "; ".join(f"{name}={value}" for name, value in operator.cookies.items())
    connection.request("GET", f"/console/rewrites/{job}/events", headers={"Cookie": cookies, "Accept-Encoding": "gzip"})
    stream = connection.getresponse()
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert "content-encoding" not in stream.headers

    def event() -> tuple[str, dict[str, str]]:
        kind, data = "", ""
        while line := stream.readline().decode().strip() or not data:
            text = str(line)
            if text.startswith("event:"):
                kind = text[6:].strip()
            if text.startswith("data:"):
                data = text[5:].strip()
        return kind, json.loads(data)

    kind, data = event()
    assert kind == "progress"
    assert "waiting for a worker" in data["html"]
    operator.post(f"/console/rewrites/{job}/cancel")
    seen = [event()[0]]
    while seen[-1] != "ended":
        seen.append(event()[0])
    connection.close()
    assert operator.post(f"/console/rewrites/{job}/retry").status == 303


def test_a_query_is_ordered_or_the_form_says_what_is_wrong(console: Console) -> None:
    operator = console.browser("operator")
    good = {"sql": "SELECT id FROM sale WHERE amount > 1", "target": "default", "runs_per_day": "12,000"}
    ordered = operator.post("/console/workbench", good)
    assert ordered.status == 303
    job = console.store.jobs("default").find(ordered.headers["location"].rpartition("/")[2])
    assert job is not None
    assert job.request["runs_per_day"] == 12000
    again = operator.post("/console/workbench", good)
    assert job.id in again.headers["location"]
    for wrong in (
        {"sql": ""},
        {"sql": "DROP TABLE sale"},
        {"sql": "SELECT 1; SELECT 2"},
        {"target": "nowhere"},
        {"timeout": "soon"},
        {"runs_per_day": HOSTILE},
    ):
        answer = operator.post("/console/workbench", good | wrong)
        assert answer.status == 422, wrong
        assert 'class="trouble"' in answer.text
        assert HOSTILE not in answer.text
    pair = {"original": good["sql"], "candidate": good["sql"], "target": "", "ddl": ""}
    assert operator.post("/console/verify", pair).status == 422
    verified = operator.post("/console/verify", pair | {"ddl": "CREATE TABLE sale (id int, amount int)"})
    assert verified.status == 303
