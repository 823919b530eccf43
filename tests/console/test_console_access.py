"""Who sees and does what: sign-in, sessions, roles, forged forms."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import unescape

import pytest
from fastapi.routing import APIRoute

from api.access import ROLES
from api.console.pages import PAGES
from tests.console.conftest import ADMIN, Browser, Console

SAMPLE = {"family": "subquery", "what": "report.json"}


def routes() -> Iterator[tuple[str, str, str | None]]:
    """(method, path, the role it needs) of every page and form."""
    for router in PAGES:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            roles = [one.call.role for one in route.dependant.dependencies if hasattr(one.call, "role")]
            for method in route.methods - {"HEAD"}:
                yield method, f"/console{route.path}", roles[0] if roles else None


ALL = sorted(routes(), key=str)


def filled(path: str, made: dict[str, str]) -> str:
    kind = "verification" if path.startswith("/console/verify") else "log" if "/logs/" in path else "waiting"
    found = path.replace("{identifier}", made[kind])
    found = found.replace("{name}", "scalar_aggregate_to_join" if "/rules/" in path else "default")
    for name, value in SAMPLE.items():
        found = found.replace("{" + name + "}", value)
    return found


def test_there_are_pages_and_forms_and_all_but_sign_in_need_a_role() -> None:
    assert len(ALL) > 30
    assert {path for _, path, role in ALL if role is None} == {"/console/sign-in"}


@pytest.mark.parametrize(("method", "path", "role"), [one for one in ALL if one[2] is not None])
def test_nobody_sees_or_does_anything_without_a_session(
    console: Console, method: str, path: str, role: str | None
) -> None:
    answer = console.browser()(method, filled(path, dict(console.made)))
    assert answer.status == 303
    assert answer.headers["location"].startswith("/console/sign-in?next=/console/")


@pytest.mark.parametrize(("method", "path", "role"), [one for one in ALL if one[0] == "POST" and one[2] is not None])
def test_a_form_without_this_sessions_token_does_nothing(console: Console, method: str, path: str, role: str) -> None:
    browser, place = console.browser("admin"), filled(path, dict(console.made))
    before = len(console.store.access().audit("default", None, 10_000))
    kind = "multipart/form-data; boundary=b" if path == "/console/logs" else "application/x-www-form-urlencoded"
    bodies = [b"", b"token=", b"token=nonsense", b"token=" + console.browser("viewer").token().encode()]
    before += 1  # the viewer's sign-in
    for body in bodies:
        sent = body
        if path == "/console/logs":
            sent = b'--b\r\nContent-Disposition: form-data; name="token"\r\n\r\n' + body[6:] + b"\r\n--b--\r\n"
        assert browser("POST", place, sent, {"Content-Type": kind}).status == 403
    assert len(console.store.access().audit("default", None, 10_000)) == before


def test_a_form_of_another_site_is_refused_although_it_has_a_token(console: Console) -> None:
    browser = console.browser("operator")
    body = f"token={browser.token()}&decision=approved".encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "cross-site"}
    path = f"/console/rewrites/{console.made['other']}/review"
    assert browser("POST", path, body, headers).status == 403
    review = console.store.reviews("default").find(console.made["other"])
    assert review is not None
    assert review.state == "waiting"


@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_every_page_and_form_is_refused_to_lower_roles(console: Console, role: str) -> None:
    browser = console.browser(role)
    for method, path, needed in ALL:
        if needed is None or ROLES.index(needed) <= ROLES.index(role):
            continue
        place = filled(path, dict(console.made))
        answer = browser.get(place) if method == "GET" else browser.post(place, {"decision": "approved"})
        assert answer.status == 403, (method, path)
        assert "This needs the role" in answer.text


def test_a_viewer_is_shown_no_buttons_that_would_be_refused(console: Console) -> None:
    browser = console.browser("viewer")
    paths = [
        "/console/",
        "/console/workbench",
        "/console/queue",
        "/console/targets",
        "/console/logs",
        "/console/verify",
    ]
    paths += [f"/console/rewrites/{console.made[name]}" for name in ("waiting", "running", "failed")]
    paths += ["/console/rules/subquery/scalar_aggregate_to_join"]
    for path in paths:
        forms = re.findall(r'<form method="post" action="([^"]+)"', browser.get(path).text)
        allowed = {"/console/sign-out", "/console/workbench", "/console/verify"}  # the latter without their button
        assert set(forms) - allowed - {"/console/queue"} == set(), path
    assert 'value="approved"' not in browser.get("/console/queue").text


def test_signing_in_gives_a_session_that_does_not_hold_the_key(console: Console) -> None:
    browser = console.browser()
    wrong = browser.sign_in("rk_admin_wrong")
    assert wrong.status == 401
    assert "not valid" in wrong.text
    right = browser.sign_in(ADMIN)
    assert right.status == 303
    (cookie,) = right.cookies
    assert {"httponly", "samesite=lax", "path=/console"} <= {part.strip().lower() for part in cookie.split(";")}
    assert ADMIN.split("_")[2] not in cookie
    assert ADMIN.split("_")[2] not in browser.get("/console/").text
    # No page's token is that of another page, so what is compressed with it tells nothing.
    assert browser.token() != browser.token()


def test_a_cookie_that_was_changed_or_made_up_is_no_session(console: Console) -> None:
    browser = console.browser("admin")
    sealed = browser.cookies["rewriter_session"]
    middle = len(sealed) // 2
    other = "A" if sealed[middle] != "A" else "B"
    csrf = browser.token()
    for forged in (sealed[:middle] + other + sealed[middle + 1 :], sealed[:-8], "", "%%%", "x" * 5000, csrf):
        assert Browser(console.port, {"rewriter_session": forged}).get("/console/").status == 303


def test_signing_out_and_revoking_end_a_session(console: Console) -> None:
    admin, operator = console.browser("admin"), console.browser("operator")
    made = admin.post("/console/keys", {"name": "short-lived", "role": "viewer"})
    key = unescape(re.findall(r"rk_[0-9a-f]{12}_[0-9a-f]{64}", made.text)[0])
    guest = console.browser()
    assert guest.sign_in(key).status == 303
    assert guest.get("/console/").status == 200
    assert admin.post(f"/console/keys/{key.split('_')[1]}/revoke").status == 303
    assert guest.get("/console/").status == 303
    assert operator.post("/console/sign-out").status == 303
    assert operator.get("/console/").status == 303
    # The key was shown once: no page and no line of the audit log has it.
    assert key not in admin.get("/console/keys").text
    assert key.split("_")[2] not in json.dumps(
        [dict(one.detail) for one in console.store.access().audit("default", None, 500)]
    )


@pytest.mark.parametrize(
    "next_",
    ["https://evil.example/", "//evil.example", "/console//evil.example", "/\\evil", "javascript:alert(1)", "/v1"],
)
def test_signing_in_leads_nowhere_but_into_the_console(console: Console, next_: str) -> None:
    browser = console.browser()
    token = browser.token("/console/sign-in")
    answer = browser.post("/console/sign-in", {"key": ADMIN, "next": next_}, token=token)
    assert answer.headers["location"] == "/console/"
