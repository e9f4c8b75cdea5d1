"""What every response tells the browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from components.web.app import guarded
from components.web.pages import FOLDER
from components.web.tests.house import ADDRESS, House, open_house


@pytest.fixture(scope="module")
def house() -> House:
    return open_house()


@pytest.mark.parametrize(
    "path", ["/login", "/health", "/nowhere", "/api/v1/session", "/static/app.css"]
)
def test_every_response_is_guarded(house: House, path: str) -> None:
    headers = house.outsider(follow_redirects=False).get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["x-request-id"]


def test_what_is_refused_before_it_is_read_is_guarded_too(house: House) -> None:
    answer = house.outsider().post("/login", content=b"x" * (7 << 20))
    assert answer.status_code == 413
    assert "content-security-policy" in answer.headers


def test_pages_are_kept_nowhere_and_files_for_good(house: House) -> None:
    browser = house.outsider()
    assert browser.get("/login").headers["cache-control"] == "no-store"
    (named,) = re.findall(r'href="(/static/app.css[^"]*)"', browser.get("/login").text)
    assert "immutable" in browser.get(named).headers["cache-control"]
    plain = browser.get("/static/shrink.js")
    assert plain.headers["cache-control"] == "public, no-cache"
    again = browser.get("/static/shrink.js", headers={"if-none-match": plain.headers["etag"]})
    assert again.status_code == 304
    assert browser.get("/static/nothing.css").headers["cache-control"] == "no-store"


def test_where_browsers_come_by_https_they_are_held_to_it() -> None:
    more = {"login": "cognito", "issuer": "https://pool.example", "client_id": "c"}
    house = open_house(public_url="https://pages.example", **more)
    browser = TestClient(guarded(house.app, house.settings), base_url="https://pages.example")
    answer = browser.get("/login")
    assert answer.headers["strict-transport-security"].startswith("max-age=")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-session=")
    assert "secure" in cookie.lower()
    assert "domain" not in cookie.lower()


def test_scripts_may_send_large_files_to_the_bucket_alone(house: House) -> None:
    app = guarded(house.app, house.settings, uploads="https://b.s3.amazonaws.com")
    policy = TestClient(app, base_url=ADDRESS).get("/login").headers["content-security-policy"]
    assert "connect-src 'self' https://b.s3.amazonaws.com;" in policy


@pytest.mark.parametrize(
    "file", sorted((FOLDER / "templates").rglob("*.html")), ids=lambda f: f.name
)
def test_no_template_has_a_script_or_a_style_of_its_own(file: Path) -> None:
    """The policy would not run them."""
    text = file.read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", text)
    assert all(" src=" in tag for tag in re.findall(r"<script[^>]*>", text))
    assert "|safe" not in text.replace(" ", "")
