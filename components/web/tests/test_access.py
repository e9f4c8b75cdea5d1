"""Who gets in: every route x role, sessions that end, tokens, and hosts that are not ours."""

from __future__ import annotations

import pytest
from fastapi import APIRouter

from components.web.access import Role
from components.web.app import _refuse_open_routes, needed_role, routes_of
from components.web.tests.house import House, csrf_in, open_house

ANYBODY, CONSUMER, OPERATOR = Role.OUTSIDER, Role.CONSUMER, Role.OPERATOR
# A route that is not here fails the test below: think of whom it is for, then write it down.
TABLE = {
    "GET /health": ANYBODY,
    "GET /login": ANYBODY,
    "POST /login": ANYBODY,
    "POST /logout": ANYBODY,
    "GET /": CONSUMER,
    "GET /api/v1/openapi.json": CONSUMER,
    "GET /api/v1/session": CONSUMER,
    "POST /api/v1/predictions": CONSUMER,
    "POST /api/v1/feedback": CONSUMER,
}
OPERATORS = ("/operator", "/api/v1/")  # all else below these is an operator's


@pytest.fixture(scope="module")
def house() -> House:
    return open_house(requests_per_minute=100_000)


def all_routes(house: House) -> dict[str, Role]:
    return {
        f"{method} {route.path}": TABLE.get(f"{method} {route.path}", OPERATOR)
        for route in routes_of(house.app)
        for method in route.methods or ()
    }


def test_every_route_asks_for_the_role_that_the_table_gives_it(house: House) -> None:
    found = {
        f"{method} {route.path}": needed_role(route)
        for route in routes_of(house.app)
        for method in route.methods or ()
    }
    assert found.items() >= TABLE.items()
    others = found.keys() - TABLE.keys()
    assert all(name.split()[1].startswith(OPERATORS) for name in others)
    assert {found[name] for name in others} <= {OPERATOR}


@pytest.mark.parametrize("role", [ANYBODY, CONSUMER, OPERATOR], ids=lambda role: role.name.lower())
def test_every_route_lets_in_whom_it_needs_and_nobody_else(house: House, role: Role) -> None:
    """Told by the answer itself, not by what the code says of itself."""
    browser = (
        house.outsider(follow_redirects=False)
        if role is ANYBODY
        else house.visitor(role.name.lower())
    )
    for name, needed in all_routes(house).items():
        method, path = name.split()
        if path == "/logout":
            continue  # would end this session; tested below
        path = path.replace("{", "").replace("}", "")
        answer = browser.request(method, path, content=b"{}")
        if role >= needed:
            assert answer.status_code not in (401,), name
            assert answer.headers.get("location", "") != f"/login?next={path}", name
            if role is not ANYBODY:
                assert answer.status_code != 403 or path == "/login", (name, answer.text)
        elif role is ANYBODY:
            expected = 401 if path.startswith("/api/") else 303
            assert answer.status_code == expected, name
        else:
            assert answer.status_code == 403, name


def test_an_application_with_an_open_route_does_not_start() -> None:
    house = open_house()
    forgotten = APIRouter()
    forgotten.add_api_route("/open", lambda: "all that there is")
    house.app.include_router(forgotten)
    with pytest.raises(AssertionError, match="/open says not whom it needs"):
        _refuse_open_routes(house.app)


def test_a_page_leads_an_outsider_to_the_login_and_back() -> None:
    browser = open_house().outsider(follow_redirects=False)
    answer = browser.get("/?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/%3Fx%3D1")
    page = browser.get(answer.headers["location"]).text
    assert 'name="next" value="/?x=1"' in page
    form = {"csrf": csrf_in(page), "role": "operator", "next": "/?x=1"}
    assert browser.post("/login", data=form).headers["location"] == "/?x=1"


def test_a_part_that_renews_itself_brings_its_page_to_the_login() -> None:
    """Followed, the way to the login would put a whole page into a part of one."""
    browser = open_house().outsider(follow_redirects=False)
    answer = browser.get("/operator/live/figures", headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-refresh"]) == (401, "true")
    assert not answer.content


@pytest.mark.parametrize(
    "elsewhere",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/\tx",
        "",
    ],
)
def test_a_login_leads_to_no_other_site(elsewhere: str) -> None:
    browser = open_house().outsider(follow_redirects=False)
    token = csrf_in(browser.get("/login").text)
    answer = browser.post("/login", data={"csrf": token, "role": "consumer", "next": elsewhere})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert browser.get("/login", params={"next": elsewhere}).headers["location"] == "/"


def test_a_session_ends_when_its_hours_are_over() -> None:
    house = open_house(session_hours=2.0)
    browser = house.visitor("consumer")
    house.clock.now_s += 2 * 3600 - 1
    assert browser.get("/api/v1/session").status_code == 200
    house.clock.now_s += 1
    assert browser.get("/api/v1/session").status_code == 401


def test_leaving_ends_the_session() -> None:
    browser = open_house().visitor("consumer")
    token = browser.headers["x-csrf-token"]
    assert browser.post("/logout", data={"csrf": "wrong"}).status_code == 403
    assert browser.post("/logout", data={"csrf": token}).headers["location"] == "/login"
    assert browser.get("/api/v1/session").status_code == 401


def test_a_cookie_that_somebody_changed_is_nobodys() -> None:
    browser = open_house().visitor("consumer")
    (cookie,) = browser.cookies.jar
    cookie.value = "A" + str(cookie.value)[1:]
    assert browser.get("/api/v1/session").status_code == 401


def test_a_session_cookie_is_for_http_and_this_site_alone() -> None:
    browser = open_house().outsider()
    said = browser.get("/login").headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=lax" in said
    assert "max-age=28800" in said


@pytest.mark.parametrize("token", ["", "wrong", "None"])
def test_a_change_without_the_sessions_token_is_refused(token: str) -> None:
    browser = open_house().visitor("consumer")
    browser.headers["x-csrf-token"] = token
    answer = browser.post("/api/v1/predictions", content=b"x")
    assert (answer.status_code, answer.json()["error"]) == (403, "Forbidden")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_change_from_another_site_is_refused_whatever_token_it_has(site: str) -> None:
    browser = open_house().visitor("consumer")
    answer = browser.post("/api/v1/predictions", content=b"x", headers={"sec-fetch-site": site})
    assert answer.status_code == 403


def test_a_token_of_another_session_does_not_count() -> None:
    house = open_house()
    first, second = house.visitor("consumer"), house.visitor("consumer")
    first.headers["x-csrf-token"] = second.headers["x-csrf-token"]
    assert first.post("/api/v1/predictions", content=b"x").status_code == 403


def test_nobody_logs_in_without_having_seen_the_page() -> None:
    """Else another site could log a browser in under a name of its own."""
    browser = open_house().outsider(follow_redirects=False)
    assert browser.post("/login", data={"role": "operator"}).status_code == 403


def test_there_is_no_third_role() -> None:
    browser = open_house().outsider(follow_redirects=False)
    token = csrf_in(browser.get("/login").text)
    answer = browser.post("/login", data={"csrf": token, "role": "root"})
    assert answer.status_code == 422
    assert "choose a role" in answer.text.lower()


def test_a_name_of_another_site_that_leads_here_is_refused() -> None:
    """DNS rebinding: a page elsewhere whose name leads to this machine."""
    browser = open_house().outsider()
    assert browser.get("/login", headers={"host": "evil.example"}).status_code == 400
    assert browser.get("/login", headers={"host": "localhost:8000"}).status_code == 200
    # Who looks after a container knows its address alone.
    assert browser.get("/health", headers={"host": "10.0.0.7:8000"}).status_code == 200


def test_too_many_requests_are_refused_and_told_when_to_come_back() -> None:
    browser = open_house(requests_per_minute=5).visitor("consumer")
    answers = [browser.get("/api/v1/session") for _ in range(6)]
    last = answers[-1]
    assert (last.status_code, last.json()["error"]) == (429, "TooMany")
    assert 1 <= int(last.headers["retry-after"]) <= 61


def test_an_operator_uploads_more_than_a_consumer_sends() -> None:
    house = open_house(requests_per_minute=5)
    operator, consumer = house.visitor("operator"), house.visitor("consumer")
    answers = [browser.get("/api/v1/session") for browser in (operator, consumer) for _ in range(9)]
    assert [answer.status_code for answer in answers[:9]] == [200] * 9
    assert answers[-1].status_code == 429


def test_one_visitors_haste_is_not_anothers() -> None:
    house = open_house(requests_per_minute=6)
    hasty, calm = house.visitor("consumer"), house.visitor("operator")
    while hasty.get("/api/v1/session").status_code != 429:
        pass
    assert calm.get("/api/v1/session").status_code == 200
