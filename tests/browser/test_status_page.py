"""The status page in a real Chromium, on a real worker."""

from __future__ import annotations

import json
import time

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.page import Browser
from tests.support.waiting import until

TOKEN = "correct-horse-battery-staple"
HOSTILE = "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
ASIDE = "document.querySelector('tr[data-key=note]')?.cells[2].textContent"


@pytest.fixture
def browser(chromium):
    return Browser(chromium)


@pytest.fixture
def page(world, browser):
    """Start a worker that serves the page, and open it."""

    def opened(*, token=TOKEN, concurrent=4, **options):
        http = {"token": token} if token else {}
        port = world.start_worker(concurrent=concurrent, http=http).http_port
        browser.open(f"http://127.0.0.1:{port}/", **options)
        browser.sees("live", "#state")
        return browser

    return opened


def hostile_task(kind=HOSTILE):
    return json.dumps({"type": kind, "data": {"x": HOSTILE}}).encode()


def _items(browser):
    return browser.run("[...document.querySelectorAll('#letters pre')].map(e => e.textContent)")


def unlock(browser, token=TOKEN):
    browser.click("#unlock")
    browser.type_in("#token", token)
    browser.keys(Keys.ENTER)


def test_it_shows_what_runs_and_what_waits_live(world, page):
    browser = page(concurrent=2)
    world.enqueue("gate", 5)
    browser.sees("gate", "#running")
    browser.sees("2 of 2", "#figures")
    browser.sees("Waiting\n3", "#figures")
    browser.sees("Started a second: ", "#plots")
    browser.sees("2 of 2", "#workers")
    world.open_gate()
    world.all_settled()
    browser.sees("Waiting\n0", "#figures")
    browser.sees("Nothing runs.")
    assert browser.complaints() == []


def test_it_counts_all_that_runs_and_stays_short(world, page):
    browser = page(concurrent=200)
    world.enqueue("gate", 180)
    browser.sees("180 of 200", "#figures", 30)
    browser.sees("(180)", "#running-count", 30)
    browser.sees("180 of 200", "#workers")
    browser.sees("130 more run, shorter than these.", "#running-more")
    assert browser.run("document.querySelectorAll('#running tr').length") == 50
    world.open_gate()
    browser.sees("Nothing runs.", "main", 30)
    assert browser.hidden("#running-more")


def test_it_shows_what_waits_in_each_of_several_lists(world, page):
    browser = page(concurrent=1)
    world.enqueue("gate")
    world.redis.sadd(world.keys.lists, world.keys.queue, "urgent", HOSTILE)
    world.push(*["{}"] * 7, to="urgent")
    browser.sees("Waiting in urgent\n7", "#figures")
    browser.sees(f"Waiting in {HOSTILE}\n0", "#figures")
    assert browser.run("document.title") != "run"


def test_hostile_text_in_type_data_and_error_is_shown_as_text_and_never_run(world, page):
    browser = page(token=None)
    world.push(hostile_task(), hostile_task("raise_html"), HOSTILE.encode(), b"\xff\x00<b>")
    world.enqueue("gate", 1, extra={"type": HOSTILE})
    fields = ("raw", "outcome", "reason", "error", "type", "worker", "time")
    world.redis.xadd(world.keys.dead, dict.fromkeys(fields, HOSTILE))
    about = {"host": HOSTILE, "version": HOSTILE, "running": [{"tag": "evil:1", "type": HOSTILE}]}
    world.redis.hset(world.keys.about, "evil", json.dumps(about))
    world.redis.zadd(world.keys.workers, {"evil": 1e15})
    world.redis.hset(world.keys.inflight, "evil:1", "x")

    browser.sees(HOSTILE, "#running")
    browser.sees(HOSTILE, "#workers")
    browser.sees(HOSTILE, "#letters")
    until(lambda: world.redis.xlen(world.keys.dead) == 6)
    browser.sees("(6)", "#dead-count")
    until(lambda: len(browser.driver.find_elements("css selector", "#letters summary")) == 6)
    for summary in browser.driver.find_elements("css selector", "#letters summary"):
        summary.click()
    until(lambda: len(shown := _items(browser)) == 6 and all(shown), what="every item is shown")
    assert sum(HOSTILE in item for item in _items(browser)) == 2  # in the others JSON quotes it

    assert browser.run("document.title") == "Taskrig"
    assert browser.run("document.querySelectorAll('main script, main img, main b').length") == 0
    assert browser.complaints() == []  # not even the policy had to stop anything


def test_without_a_token_in_the_config_it_is_read_only(world, page):
    browser = page(token=None)
    world.push(b"no json")
    browser.sees("invalid", "#letters")
    browser.sees("read-only: no token is configured")
    assert browser.hidden("[data-act], #unlock, .pick")
    order = {
        "method": "POST",
        "body": '{"where":{}}',
        "headers": {"Content-Type": "application/json", "Authorization": "Bearer "},
    }
    said = browser.run("fetch('/api/dead/requeue', arguments[0]).then(r => r.status)", order)
    assert said == 403
    assert world.redis.xlen(world.keys.dead) == 1


def test_with_the_token_a_dead_letter_is_requeued_byte_for_byte_and_another_dropped(world, page):
    browser = page()
    item = b'{ "type":"raise", "data":{"kind":"ValueError","id":"<b>"} }'
    world.push(item)
    world.all_settled()
    browser.sees("Unlock to see what is in them.")
    assert "ValueError" not in browser.text()

    unlock(browser, "not the right token")
    browser.sees("the token is missing or wrong", "#token-dialog")
    browser.type_in("#token", Keys.CONTROL + "a")
    browser.type_in("#token", TOKEN)
    browser.keys(Keys.ENTER)
    browser.sees("ValueError: plain", "#letters")
    browser.click("#pause")
    browser.sees("paused", "#state")

    browser.click("#letters .pick")
    browser.press("Requeue 1 chosen")
    browser.sees("1 requeued", "#said")
    browser.sees("There are none.")
    assert world.items() == [item]

    browser.press("Resume")
    browser.sees("ValueError: plain", "#letters")
    browser.press("Drop all that match")
    browser.sees("Drop all dead letters for good?", "#sure-dialog")
    browser.press("Yes")
    browser.sees("1 dropped", "#said")
    assert world.redis.xlen(world.keys.dead) == 0
    assert TOKEN not in browser.run(
        "location.href + JSON.stringify(localStorage) + document.cookie"
        " + JSON.stringify(sessionStorage)"
    )
    assert TOKEN not in world.workers[0].log()


def test_what_the_bounds_dropped_is_shown_also_while_the_letters_are_locked(world, page):
    browser = page()
    assert browser.hidden("#dead-dropped")
    seconds, _ = world.redis.time()
    lost = {"dead_trimmed": 5007, "invalid_trimmed": 7, "dead_trimmed_at": seconds - 120}
    world.redis.hset(world.keys.stats, mapping=lost)
    browser.sees("5,000 dead letters were dropped, the last one 2 min", "#dead-dropped")
    browser.sees("7 invalid items were dropped: dead_letters.invalid_max", "#dead-dropped")


def test_filters_choose_and_all_that_match_are_requeued(world, page):
    browser = page()
    world.enqueue("reject", 60)
    world.enqueue("raise", 3, kind="ValueError")
    world.push(b"no json")
    world.all_settled()
    unlock(browser)
    browser.sees("invalid", "#letters")
    browser.click("#more")
    until(lambda: len(browser.driver.find_elements("css selector", "#letters li")) == 64)
    browser.type_in("#filters [name=type]", "reject")
    browser.press("Show")
    until(lambda: "ValueError" not in browser.text("#letters"))
    browser.click("#pause")
    browser.sees("paused", "#state")
    browser.press("Requeue all that match")
    browser.sees("Requeue all dead letters of type reject?", "#sure-dialog")
    browser.press("Yes")
    browser.sees("60 requeued", "#said")
    assert world.waiting() == 60
    assert world.redis.xlen(world.keys.dead) == 4


def test_a_running_task_is_cancelled_and_a_worker_drained(world, page):
    browser = page()
    world.enqueue("gate", 1)
    unlock(browser)
    browser.press("Cancel")
    browser.press("Yes")
    browser.sees("cancelled", "#letters")
    browser.press("Drain")
    browser.press("Yes")
    assert world.workers[0].exit_code() == 0
    browser.sees("no connection", "#state")
    browser.sees("trying again", "#problem")


def test_paused_types_are_shown_to_all_and_paused_and_resumed_with_the_token(world, page):
    browser = page()
    assert browser.hidden("#paused, #pause-type")
    unlock(browser)
    browser.type_in("#pause-type [name=type]", HOSTILE)
    browser.type_in("#pause-type [name=why]", "because " + HOSTILE)
    browser.press("Pause type")
    browser.sees("none has a handler for it", "#said")
    browser.type_in("#pause-type [name=type]", "note")
    browser.press("Pause type")
    browser.sees("paused: no worker starts note", "#said")
    browser.sees("live, 2 types paused", "#state")
    until(lambda: "note" in world.workers[0].status()["paused_types"], what="the worker knows")
    world.enqueue("note", 3)
    until(lambda: world.held() == 3, what="the tasks are set aside")

    browser.driver.refresh()  # and the token is forgotten
    shown = browser.sees("(2)", "#paused")
    assert "because " + HOSTILE in shown and "from the status page" in shown
    until(lambda: browser.run(ASIDE) == "3", what="all three are shown")
    assert browser.hidden("#paused button, #paused input")
    assert browser.run("document.querySelectorAll('main script, main img').length") == 0

    unlock(browser)
    browser.usable("[aria-label='Resume note']").send_keys(Keys.ENTER)
    browser.sees("note resumed, 3 given back", "#said")
    world.all_settled()
    browser.sees("live, 1 type paused", "#state")
    until(lambda: "note" not in browser.text("#paused-types"), what="all of them are back")
    assert world.totals()["succeeded"] == 3


def test_a_task_is_found_by_its_id_once_unlocked(world, page):
    browser = page(concurrent=1)
    browser.sees("Unlock to look for a task")
    world.push(json.dumps({"type": "note", "id": "o-7", "data": HOSTILE, "run_at": 4e9}))
    until(lambda: world.redis.zcard(world.keys.delayed) == 1)
    unlock(browser)
    browser.type_in("#find-form input", "o-7")
    browser.keys(Keys.ENTER)
    seen = browser.sees("delayed", "#found")
    assert json.dumps(HOSTILE) in seen and "o-7" in seen
    assert browser.run("document.title") == "Taskrig"
    browser.type_in("#find-form input", "nothing")
    browser.keys(Keys.ENTER)
    browser.sees("nothing is known of this task", "#find-said")


def test_it_says_that_the_whole_queue_is_paused_since_when_and_why(world, page):
    browser = page()
    world.redis.set(world.keys.paused, f"{int(time.time()) - 60} moving <b>house</b>")
    browser.sees("paused for 1 min", "#state")
    browser.sees(": moving <b>house</b>", "#state")
    assert browser.hidden("#pause")


def test_all_of_it_can_be_done_with_the_keyboard_alone(world, page):
    browser = page()
    world.enqueue("reject", 1)
    world.all_settled()
    browser.tab_to(lambda at: at.text == "Skip to the queue")
    browser.tab_to(lambda at: at.get_attribute("id") == "unlock").send_keys(Keys.ENTER)
    browser.keys(TOKEN, Keys.ENTER)
    browser.sees("no recipient", "#letters")
    browser.tab_to(lambda at: at.get_attribute("class") == "pick").send_keys(Keys.SPACE)
    browser.run("document.querySelector('#filters button').focus()")
    browser.tab_to(lambda at: at.get_attribute("id") == "drop-chosen").send_keys(Keys.ENTER)
    browser.sees("Drop 1 dead letters for good?", "#sure-dialog")
    browser.tab_to(lambda at: at.get_attribute("id") == "sure-yes").send_keys(Keys.ENTER)
    browser.sees("1 dropped", "#said")
    assert world.redis.xlen(world.keys.dead) == 0


def test_redis_away_is_said_and_the_page_comes_back_by_itself(server, world_on, browser):
    redis = server()
    world = world_on(redis.url)
    worker = world.start_worker()
    browser.open(f"http://127.0.0.1:{worker.http_port}/")
    browser.sees("live", "#state")
    redis.stop()
    browser.sees("Redis at", "#problem")
    redis.start()
    browser.sees("live", "#state")
    until(lambda: browser.hidden("#problem"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
def test_it_fits_the_screen_and_can_be_read(world, page, width, dark):
    browser = page(width=width, height=844 if width < 600 else 900, dark=dark)
    world.enqueue("sleep", 120, s=0.1)
    world.enqueue("raise", 2, kind="ValueError")
    world.push(hostile_task(), b"\xff\xfe not json")
    world.enqueue("gate", 3)
    world.enqueue("note", 7, extra={"enqueued_at": 1e9})
    unlock(browser)
    browser.type_in("#pause-type [name=type]", "note")
    browser.type_in("#pause-type [name=why]", "the mail server is down")
    browser.press("Pause type")
    until(lambda: world.workers[0].status()["paused_types"], what="the worker knows")
    world.enqueue("note", 12)
    until(lambda: browser.run(ASIDE) not in (None, "0"), what="it is shown that some are set aside")
    browser.sees("gate", "#running", 30)
    browser.sees("ValueError", "#letters")
    browser.sees("at most", "#plots")

    assert browser.run("document.documentElement.scrollWidth") <= width
    for selector in (
        "body",
        "button",
        "h2",
        ".why",
        ".state",
        ".figures dt",
        "summary",
        "figcaption",
    ):
        assert _contrast(browser, selector) >= 4.5, selector
    nameless = browser.run(
        "[...document.querySelectorAll('button, input, select')]"
        ".filter(e => e.checkVisibility())"
        ".filter(e => !(e.textContent.trim() || e.labels?.length || e.ariaLabel))"
        ".map(e => e.outerHTML)"
    )
    assert nameless == []


_CONTRAST = """(() => {
  const element = [...document.querySelectorAll(arguments[0])].find(e => e.checkVisibility());
  if (!element) return 21;
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  let behind = element, back;
  while (behind) {
    back = rgb(getComputedStyle(behind).backgroundColor);
    if (back.length === 3 || back[3] === 1) break;
    behind = behind.parentElement;
  }
  const [a, b] = [light(rgb(getComputedStyle(element).color)), light(back)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
})()"""


def _contrast(browser, selector):
    """Contrast of text and what is behind it, by WCAG 2.2."""
    return browser.run(_CONTRAST, selector)
