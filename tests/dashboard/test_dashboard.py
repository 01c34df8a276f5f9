"""What people see of a real proxy in front of a real server, and of more history than a test has time to make."""

import hashlib
import os
import re
import threading
from contextlib import contextmanager

import pytest
import redis
from harness import PATIENCE, SPIN, BusyScript, wait_until
from invented import HOSTILE, invent
from playwright.sync_api import expect

MANY = 10_000
DESKTOP = {"viewport": {"width": 1280, "height": 900}}
PHONE = {"viewport": {"width": 360, "height": 740}, "device_scale_factor": 2, "has_touch": True}
PATIENT = {"socket_timeout": PATIENCE}
FOLDER = os.environ.get("UNBUSY_SCREENSHOTS")


def opened(open_page, proxy, history: int | None = None, **kind):
    page = open_page(**(kind or DESKTOP))
    if history is not None:
        invent(page, history)
    page.goto(proxy.url)
    expect(word(page)).to_have_text("Open")
    return page


def word(page):
    return page.locator("#word")


def rows(page):
    return page.get_by_role("table", name="Episodes").locator("tbody").get_by_role("row")


@contextmanager
def at_the_same_time(*functions):
    """They end before the block does."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


@contextmanager
def one_waits_for_another(server, proxy, millis: int = 4000):
    """Whose script makes the server busy."""
    with proxy.client(**PATIENT) as runner, proxy.client(**PATIENT) as waiter:
        runner.ping()
        waiter.ping()
        with at_the_same_time(lambda: runner.eval(SPIN, 0, millis)):
            wait_until("the server is busy", lambda: is_busy(server))
            with at_the_same_time(lambda: waiter.incr("n")):
                yield


def is_busy(server) -> bool:
    try:
        server.direct.ping()
    except redis.ResponseError:
        return True
    return False


def test_scripts_are_listed_by_what_they_cost_with_their_texts(proxy, open_page):
    costly, cheap = "for i = 1, 3000000 do end return '<b>costly</b>'", "return 'cheap'"
    with proxy.client(**PATIENT) as client:
        for _ in range(3):
            client.eval(costly, 0)
            client.eval(cheap, 0)
    page = opened(open_page, proxy)
    scripts = page.locator(".script")
    expect(scripts).to_have_count(2)
    first = scripts.first
    expect(first).to_contain_text(hashlib.sha1(costly.encode()).hexdigest())
    expect(first).to_contain_text("in 3 runs")
    expect(first.locator("pre")).to_be_hidden()
    first.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(first.locator("pre")).to_have_text(costly)
    with proxy.client(**PATIENT) as client:
        client.eval(costly, 0)
    expect(first).to_contain_text("in 4 runs", timeout=15_000)
    expect(first.locator("pre")).to_be_visible()
    expect(first.locator("summary")).to_be_focused()


def test_what_was_given_up_is_named(proxy, open_page):
    page = open_page(**DESKTOP)
    whose = {"client": "10.0.0.7:53412", "client_name": None, "user": None}
    losses = [
        {"at_ms": 1_700_000_000_000, "command": "LPUSH", "commands": 3, "waited_ms": 120_004, **whose},
        {"at_ms": 1_700_000_000_000, "command": HOSTILE, "commands": 1, "waited_ms": None, **whose, "user": "app"},
    ]
    invent(page, 3, lambda state: state["counters"].update(given_up=4))
    page.route("**/api/given-up", lambda route: route.fulfill(json={"given_up": losses}))
    page.goto(proxy.url)
    entries = page.locator("#losses").get_by_role("listitem")
    expect(entries).to_have_count(2)
    expect(entries.first).to_contain_text("LPUSH and 2 more of 10.0.0.7:53412, after 2 min")
    expect(entries.last).to_contain_text(f"{HOSTILE} of 10.0.0.7:53412 (user app), behind another")


def test_an_episode_is_seen_live(server, proxy, open_page):
    page = opened(open_page, proxy)
    expect(page.get_by_text("has not been busy since")).to_be_visible()
    sha = hashlib.sha1(SPIN.encode()).hexdigest()
    with one_waits_for_another(server, proxy):
        expect(word(page)).to_have_text("Busy")
        expect(page).to_have_title("busy · unbusy")
        expect(page.locator("#script")).to_have_text(sha)
        expect(page.locator("#client")).to_have_text(re.compile(r"^127\.0\.0\.1:\d+$"))
        expect(page.locator("#held-connections")).to_have_text("1")
        expect(page.locator("#held-commands")).to_have_text("1")
        expect(page.locator("#longest-wait")).to_have_text(re.compile(r"\d m?s$"))
    expect(word(page)).to_have_text("Open")
    expect(rows(page)).to_have_count(1)
    cells = rows(page).get_by_role("cell")
    expect(cells.nth(1)).to_have_text(re.compile(r"^[1-4]\.\d s$"))
    for column, text in {2: "script", 3: sha, 5: "1", 6: "1", 7: "0"}.items():
        expect(cells.nth(column)).to_have_text(text)
    expect(page.locator("#episodes-total")).to_have_text("1")
    # What is read anew on the next visit is the same.
    page.reload()
    expect(rows(page).get_by_role("cell").nth(3)).to_have_text(sha)


def test_what_is_not_known_is_said(server, proxy, open_page):
    page = opened(open_page, proxy)
    with BusyScript(server), at_the_same_time(lambda: proxy.client().incr("n")):
        expect(word(page)).to_have_text("Busy")
        expect(page.locator("#script")).to_have_text("not through this proxy")
    expect(rows(page).get_by_role("cell").nth(3)).to_have_text("not through this proxy")


def test_silence_is_not_called_busy(server, proxy, open_page):
    page = opened(open_page, proxy)
    clients = [proxy.client(**PATIENT) for _ in range(3)]
    for client in clients:
        client.ping()
    # The proxy knows of it when one comes while another's command is overdue, which the first's may not be: a lease ran.
    pings = [threading.Timer(0.3 * at, client.ping).run for at, client in enumerate(clients)]
    with server.paused(), at_the_same_time(*pings):
        expect(word(page)).to_have_text("Silent")
        server.resume()
    expect(word(page)).to_have_text("Open")


def test_a_server_that_is_gone_is_not_called_open(server, proxy, open_page):
    page = opened(open_page, proxy)
    server.stop()
    expect(word(page)).to_have_text("Unreachable", timeout=15_000)
    expect(page.locator("#since")).to_contain_text("New clients are refused: cannot reach")


def test_a_lost_connection_and_a_restart_are_told(server, proxy, open_page):
    page = opened(open_page, proxy)
    with BusyScript(server), at_the_same_time(lambda: proxy.client().incr("n")):
        expect(word(page)).to_have_text("Busy")
    expect(rows(page)).to_have_count(1)
    proxy.stop()
    expect(word(page)).to_have_text("Not connected")
    expect(page.get_by_role("alert")).to_have_text(re.compile("Not connected to the proxy since .* What is shown"))
    expect(rows(page)).to_have_count(1)

    another = proxy.another()
    try:
        expect(word(page)).to_have_text("Open")
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(page.locator("#restarted")).to_contain_text("started anew")
        expect(rows(page)).to_have_count(0)
        expect(page.locator("#episodes-total")).to_have_text("0")
        page.get_by_role("button", name="Dismiss").click()
        expect(page.locator("#restarted")).to_be_hidden()
    finally:
        another.stop()


def test_ten_thousand_episodes_are_shown_within_a_second(proxy, open_page):
    page = opened(open_page, proxy, MANY)
    shown = page.wait_for_function(
        "() => document.getElementById('page').textContent.endsWith('of 10,000') && performance.now()"
    ).json_value()
    request = page.evaluate("performance.getEntriesByName(new URL('api/state', location).href)[0].responseEnd")
    moved = page.evaluate("""async () => {
        const press = (key) => document.getElementById('timeline').dispatchEvent(new KeyboardEvent('keydown', { key }));
        const frame = () => new Promise(requestAnimationFrame);
        const begin = performance.now();
        for (let i = 0; i < 20; i++) { press(i % 2 ? '+' : 'Home'); await frame(); }
        return (performance.now() - begin) / 20;
    }""")
    print(f"\n{MANY} episodes: {shown - request:.0f} ms from the last byte to the picture, "
          f"{shown:.0f} ms from the address; a move takes {moved:.0f} ms")  # fmt: skip
    assert shown - request < 1000
    assert moved < 100


@pytest.mark.parametrize("history", [0, 300])
def test_a_phone_needs_no_scrolling_sideways(proxy, open_page, history):
    page = opened(open_page, proxy, history, **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    if history:
        expect(page.get_by_role("columnheader", name="Lasted")).to_have_count(1)
        expect(rows(page)).to_have_count(25)


def test_the_timeline_is_used_by_keyboard(proxy, open_page):
    page = opened(open_page, proxy, 300)
    timeline = page.get_by_role("application", name="Timeline")
    for _ in range(20):
        page.keyboard.press("Tab")
        if timeline.evaluate("element => element === document.activeElement"):
            break
    expect(timeline).to_be_focused()
    range_shown = page.locator("#timeline-range")
    expect(range_shown).to_contain_text("300 episodes")
    for key, changes in {"+": True, "ArrowLeft": True, "-": True, "Home": True}.items():
        before = range_shown.inner_text()
        page.keyboard.press(key)
        expect(range_shown).not_to_have_text(before)
    expect(range_shown).to_contain_text("300 episodes")
    expect(page.get_by_role("button", name="All")).to_have_attribute("aria-pressed", "true")

    page.keyboard.press("Shift+ArrowLeft")
    expect(rows(page).first).to_have_attribute("aria-current", "true")
    for _ in range(30):
        page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator("#page")).to_have_text("26 to 50 of 300")
    marked = page.locator("tr[aria-current]")
    expect(page.locator("#timeline-chosen")).to_contain_text(marked.get_by_role("button").inner_text())
    expect(timeline).to_be_focused()


def test_the_timeline_is_used_by_mouse_and_wheel(proxy, open_page):
    page = opened(open_page, proxy, 300)
    box = page.locator("#timeline").bounding_box()
    x, y = box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5
    range_shown = page.locator("#timeline-range")
    whole = range_shown.inner_text()
    page.mouse.move(x, y)
    page.mouse.wheel(0, -300)
    expect(range_shown).to_contain_text("300 episodes")
    page.mouse.wheel(0, -10_000)
    page.evaluate("scrollTo(0, 0)")
    page.mouse.click(x, y)
    page.mouse.wheel(0, -600)
    expect(range_shown).not_to_contain_text("300 episodes")
    zoomed = range_shown.inner_text()
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 200, y, steps=5)
    page.mouse.up()
    expect(range_shown).not_to_have_text(zoomed)
    assert range_shown.inner_text() != whole

    page.get_by_role("button", name="Older").click()
    rows(page).nth(3).get_by_role("button").click()
    expect(rows(page).nth(3)).to_have_attribute("aria-current", "true")
    expect(page.locator("#timeline-chosen")).not_to_be_empty()


def test_what_comes_from_elsewhere_is_text(proxy, open_page):
    def change(state) -> None:
        state["upstream"] = HOSTILE
        state["episodes"][-1] |= {"script": HOSTILE, "client": HOSTILE, "cause": HOSTILE}

    page = open_page(**DESKTOP)
    invent(page, 3, change)
    page.route("**/api/events", lambda route: route.fulfill(body="", content_type="text/event-stream"))
    page.goto(proxy.url)
    for cell in [2, 3, 4]:
        expect(rows(page).first.get_by_role("cell").nth(cell)).to_have_text(HOSTILE)
    expect(page.locator("#where")).to_contain_text(HOSTILE)
    expect(page.locator("img")).to_have_count(0)


@pytest.mark.skipif(not FOLDER, reason="UNBUSY_SCREENSHOTS names no folder")
@pytest.mark.parametrize("name, kind", {
    "light": DESKTOP | {"color_scheme": "light"},
    "dark": DESKTOP | {"color_scheme": "dark"},
    "phone": PHONE,
}.items())  # fmt: skip
def test_screenshots(server, proxy, open_page, name, kind):
    page = opened(open_page, proxy, 300, **kind)
    page.screenshot(path=f"{FOLDER}/{name}-open.png", full_page=name != "phone", animations="disabled")
    with one_waits_for_another(server, proxy):
        expect(word(page)).to_have_text("Busy")
        expect(page.locator("#held-commands")).to_have_text("1")
        expect(page.locator("#script")).not_to_contain_text("not through")
        page.screenshot(path=f"{FOLDER}/{name}-busy.png", animations="disabled")
