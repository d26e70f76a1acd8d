"""The HTML report in a real browser: light and dark, desktop and phone, no network, readable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from taskrig_loadgen.report import html, sweep
from tests.support.chromium import dom_of, find_chromium, first_pixel, picture_of
from tests.support.results import HOSTILE, a_result

# Reports what only a browser knows: widths, the smallest text, what the pointer shows.
PROBE = """<script>
const seen={inner:innerWidth,wide:document.documentElement.scrollWidth};
const texts=[...document.querySelectorAll('svg text')].filter(t=>t.textContent.trim());
seen.smallest=Math.min(...texts.map(t=>t.getBoundingClientRect().height));
const svg=document.querySelector('[data-hover] svg'),box=svg.getBoundingClientRect();
svg.dispatchEvent(new PointerEvent('pointermove',
  {clientX:box.left+box.width*.6,clientY:box.top+40,bubbles:true}));
const tip=document.querySelector('.tip');
seen.tip=tip.hidden?'':tip.textContent;
seen.outside=performance.getEntriesByType('resource').length;
seen.fired=window.fired||0;
document.body.dataset.seen=JSON.stringify(seen);
</script></body>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    find_chromium()
    path = tmp_path_factory.mktemp("page") / "run.html"
    text = html.page(
        a_result(f"{HOSTILE.replace('alert(1)', 'window.fired=1')}=3,b=1", rate=50, calibrated=True)
    )
    path.write_text(text.replace("</body>", PROBE))
    return path


def seen_by(page: Path, width: int, *, dark: bool = False) -> dict[str, object]:
    import json
    from html import unescape

    dom, console = dom_of(page, width, dark=dark)
    assert console == ""
    match = re.search(r'data-seen="([^"]*)"', dom)
    assert match, dom[-500:]
    found: dict[str, object] = json.loads(unescape(match[1]))
    return found


@pytest.mark.parametrize("width", [500, 1200])
def test_the_page_fits_its_window_and_its_charts_can_be_read(page, width):
    seen = seen_by(page, width)
    assert seen["wide"] <= seen["inner"]
    assert seen["smallest"] > 10  # pixels, with line spacing


def test_the_pointer_shows_the_values_of_a_chart(page):
    tip = str(seen_by(page, 1200)["tip"])
    assert re.search(r"\d+ soffered /s: 50sent /s: 50done /s: 50", tip), tip


def test_the_page_asks_nobody_for_anything_and_runs_no_hostile_text(page):
    seen = seen_by(page, 1200)
    assert (seen["outside"], seen["fired"]) == (0, 0)


def test_the_page_is_light_or_dark_as_the_reader_asks(page, tmp_path):
    for dark in (False, True):
        picture = tmp_path / f"{dark}.png"
        picture_of(page, picture, dark=dark)
        brightness = sum(first_pixel(picture)) / 3
        assert (brightness < 60) if dark else (brightness > 220)


def test_the_page_of_a_sweep_is_drawn_too(tmp_path):
    find_chromium()
    runs = []
    for slots in (1, 2, 5):
        result = a_result()
        result.totals.concurrency = slots
        result.totals.makespan_s, result.totals.ideal_s = 8 / slots, 7.5 / slots
        runs.append(result)
    path = tmp_path / "sweep.html"
    path.write_text(sweep.page(sweep.make_sweep(runs)).replace("</body>", PROBE))
    seen = seen_by(path, 500)
    assert seen["wide"] <= seen["inner"]
    assert "slots" in str(seen["tip"])
