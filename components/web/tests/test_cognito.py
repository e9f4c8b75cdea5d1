"""The login with a user pool: a browser's whole way, and every token that is a lie."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from components.web.tests.house import House, csrf_in, open_house
from components.web.tests.pool import CLIENT, Pool, running_pool, signing_key

PAGES = "http://127.0.0.1"


@pytest.fixture
def pool() -> Iterator[Pool]:
    with running_pool() as made:
        yield made


@pytest.fixture
def house(pool: Pool) -> House:
    return open_house(login="cognito", public_url=PAGES, issuer=pool.address, client_id=CLIENT)


def log_in(house: House, next_page: str = "/") -> tuple[Any, Any]:
    """Go the whole way; return the browser and the pages' last answer."""
    browser = house.outsider(follow_redirects=False)
    there = browser.get("/login/start", params={"next": next_page})
    assert there.status_code == 302, there.text
    back = httpx2.get(there.headers["location"]).headers["location"]
    assert back.startswith(f"{PAGES}/login/callback?")
    return browser, browser.get(back.removeprefix(PAGES))


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (("consumer",), "consumer"),
        (("operator",), "operator"),
        (("consumer", "operator", "x"), "operator"),
    ],
)
def test_a_users_groups_give_his_role(
    house: House, pool: Pool, groups: tuple[str, ...], role: str
) -> None:
    pool.groups = groups
    browser, answer = log_in(house, "/?after=login")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?after=login")
    session = browser.get("/api/v1/session").json()
    assert (session["name"], session["role"]) == ("ada@example.com", role)


def test_the_pool_is_asked_with_state_nonce_and_pkce(house: House, pool: Pool) -> None:
    log_in(house)
    assert pool.asked["code_challenge_method"] == "S256"
    assert len(pool.asked["state"]) > 20
    assert len(pool.asked["nonce"]) > 10
    assert pool.asked["client_id"] == CLIENT


@pytest.mark.parametrize("groups", [(), ("root",), ("Operator",)])
def test_a_user_in_no_group_of_ours_stays_outside(
    house: House, pool: Pool, groups: tuple[str, ...]
) -> None:
    pool.groups = groups
    browser, answer = log_in(house)
    assert answer.status_code == 403
    assert "no group here" in answer.text
    assert browser.get("/api/v1/session").status_code == 401


@pytest.mark.parametrize(
    "lie",
    [
        {"iss": "http://127.0.0.1:1"},
        {"aud": "another-client"},
        {"exp": int(time.time()) - 3600},
        {"nonce": "of another login"},
    ],
    ids=lambda lie: next(iter(lie)),
)
def test_a_token_that_is_not_for_this_login_is_refused(
    house: House, pool: Pool, lie: dict[str, Any]
) -> None:
    pool.claims = lie
    browser, answer = log_in(house)
    assert answer.status_code == 403
    assert browser.get("/api/v1/session").status_code == 401


def test_a_token_that_another_key_signed_is_refused(house: House, pool: Pool) -> None:
    pool.shown_key = signing_key(2)
    browser, answer = log_in(house)
    assert answer.status_code == 403
    assert browser.get("/api/v1/session").status_code == 401


def test_a_login_that_this_browser_did_not_begin_is_refused(house: House) -> None:
    """Else somebody could log another's browser in as himself."""
    begun = house.outsider(follow_redirects=False).get("/login/start")
    state = parse_qs(urlsplit(begun.headers["location"]).query)["state"][0]
    other = house.outsider(follow_redirects=False)
    answer = other.get("/login/callback", params={"code": "once", "state": state})
    assert answer.status_code == 403


def test_a_login_that_was_broken_off_says_so(house: House) -> None:
    browser = house.outsider(follow_redirects=False)
    browser.get("/login/start")
    answer = browser.get("/login/callback", params={"error": "access_denied", "state": "x"})
    assert answer.status_code == 403
    assert "start it again" in answer.text


def test_leaving_ends_the_session_here_and_leads_to_where_the_pools_ends(
    house: House, pool: Pool
) -> None:
    """Else the next at this browser would be logged in without a password."""
    browser, _ = log_in(house)
    token = csrf_in(browser.get("/").text)
    assert browser.post("/logout", data={"csrf": "wrong"}).status_code == 403
    page = browser.post("/logout", data={"csrf": token}).text
    link = f"{pool.address}/logout?client_id={CLIENT}&amp;logout_uri=http%3A%2F%2F127.0.0.1%2Flogin"
    assert f'url={link}"' in page
    assert f'href="{link}"' in page
    assert browser.get("/api/v1/session").status_code == 401


def test_a_pool_that_is_away_is_told_as_such() -> None:
    house = open_house(
        login="cognito", public_url=PAGES, issuer="http://127.0.0.1:1", client_id=CLIENT
    )
    answer = house.outsider(follow_redirects=False).get("/login/start")
    assert answer.status_code == 503


def test_nobody_picks_his_own_role_where_there_is_a_pool(house: House) -> None:
    browser = house.outsider(follow_redirects=False)
    page = browser.get("/login")
    assert "As an operator" not in page.text
    assert browser.post("/login", data={"role": "operator"}).status_code == 405
