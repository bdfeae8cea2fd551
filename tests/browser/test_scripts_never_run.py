"""What people write is text: more than a hundred ways to smuggle a script into the page, none of which runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import pytest
from pages import ServerProcess, Visit, serving, until
from playwright.sync_api import Page, expect

RUN = ("hacked()", "alert(1)", "window.hacked=1", "fetch('/hacked')")
SHAPES = (
    "<script>{}</script>",
    "</script><script>{}</script>",
    "<script src=data:,{}></script>",
    "<img src=x onerror={}>",
    '<img src=x onerror="{}">',
    "<svg onload={}>",
    "<svg><script>{}</script></svg>",
    "<svg><animate onbegin={} attributeName=x dur=1s>",
    "<body onload={}>",
    "<iframe src=javascript:{}></iframe>",
    "<iframe srcdoc='<script>{}</script>'></iframe>",
    "<a href=javascript:{}>x</a>",
    "<details open ontoggle={}>x</details>",
    "<input autofocus onfocus={}>",
    "<video><source onerror={}></video>",
    "<audio src=x onerror={}></audio>",
    "<marquee onstart={}>x</marquee>",
    "<object data=javascript:{}></object>",
    "<embed src=javascript:{}>",
    "<form action=javascript:{}><button>x</button></form>",
    "<math><mi xlink:href=javascript:{}>x</mi></math>",
    "<style>@import 'javascript:{}';</style>",
    "<base href=javascript:{}//>",
    "<meta http-equiv=refresh content=0;url=javascript:{}>",
    "<template><script>{}</script></template>",
    "<noscript><p title='</noscript><img src=x onerror={}>'>",
    "javascript:{}",
    "${{{}}}",
    "{{{{constructor.constructor('{}')()}}}}",
    "'-{}-'",
    '"><script>{}</script>',
    "--><script>{}</script>",
    "]]><script>{}</script>",
    "\u2028{}\u2029",
    "<scr\0ipt>{}</scr\0ipt>",
    "&lt;script&gt;{}&lt;/script&gt;",
    "%3Cscript%3E{}%3C/script%3E",
    "\u202e<script>{}</script>",
)
ACTIVE = "script, img, svg, iframe, a, style, object, embed, video, audio, math"
PAYLOADS = [shape.format(run) for shape, run in product(SHAPES, RUN)]
NAMES = [
    "<b>",
    "<script>",
    "x<img>",
    "'\"><svg>",
    "${x}",
    "__proto__",
    "constructor",
    "toString",
    "&lt;b&gt;",
    "a\u202eb",
]
"""Short enough for a name, and names that mean something to JavaScript."""

SPREAD = """async ([payloads, names]) => {
  const made = [];
  const attempt = async (action, data) => {
    try { made.push(Object.values(await ask(action, data))[0]); }
    catch (error) { if (error.code !== "bad_name") throw error; }
  };
  for (const text of payloads) await ask("send_message", { room: "general", text });
  for (let number = 0; number < payloads.length; number += 1)
    await ask("create_room", { room: `room-${number}`, topic: payloads[number] });
  for (const name of [...names, ...payloads]) {
    await attempt("create_room", { room: name });
    await attempt("rename", { user: name });
  }
  return made;
}"""

MODERATE = """async (payloads) => {
  await ask("rename", { user: "e<img>" });
  for (const reason of payloads) {
    await ask("mute", { room: "court", user: "ann", reason });
    await ask("unmute", { room: "court", user: "ann" });
  }
  await ask("update_room", { room: "court", name: "c<svg>" });
  await ask("set_role", { room: "c<svg>", user: "ann", role: "moderator" });
  await ask("create_room", { room: "p<img>", private: true });
  await ask("invite", { room: "p<img>", user: "ann" });
}"""
LAST = "text => [...document.querySelectorAll('#log .notice bdi')].at(-1)?.textContent === text"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServerProcess]:
    with serving(tmp_path, "--no-rate-limits", "--store", "memory://") as running:
        yield running


@pytest.fixture
def pair(server: ServerProcess, visits: Callable[[], Visit]) -> Iterator[tuple[Page, Page]]:
    """Eve, who writes, and ann, who reads. At the end nothing has run, nor become a part of the page."""
    pages = visits().context.new_page(), visits().context.new_page()
    for page, name in zip(pages, ("eve", "ann"), strict=True):
        page.add_init_script("window.hacked = undefined")
        page.goto(server.url)
        page.fill("#name", name)
        page.click("#connect button")
        expect(page.locator("#me")).to_have_text(f"You are {name}")
    requested: list[str] = []
    pages[1].on("request", lambda request: requested.append(request.url))
    yield pages
    for page in pages:
        assert page.evaluate("window.hacked") is None
        assert page.locator(f"#chat :is({ACTIVE})").count() == 0
    assert not [url for url in requested if "hacked" in url or not url.startswith(server.url)]


def test_no_payload_runs(pair: tuple[Page, Page]) -> None:
    assert len(set(PAYLOADS)) >= 100
    eve, ann = pair
    made = set(eve.evaluate(SPREAD, [PAYLOADS, NAMES]))
    assert {"x<img>", "constructor", "toString"} <= made  # few are names: the rest is refused
    expect(ann.locator("#log li.message")).to_have_count(len(PAYLOADS))
    assert ann.locator("#log li.message bdi").evaluate_all("found => found.map(one => one.textContent)") == PAYLOADS

    # A room's name and topic, in the list and as the title.
    for room in sorted(made):
        button = ann.locator("#rooms button").filter(has=ann.get_by_text(room, exact=True)).first
        if button.count():
            button.click()
            expect(ann.locator("#title")).to_contain_text(room)
    for number, topic in list(enumerate(PAYLOADS))[:: len(RUN)]:  # each shape once
        ann.locator("#rooms button", has_text=re.compile(rf"^room-{number} \(")).dispatch_event("click")
        expect(ann.locator("#title")).to_contain_text(f"room-{number}")
        assert " ".join(topic.split()) in " ".join(ann.locator("#title").text_content().split())
    ann.locator("#rooms button", has_text=re.compile(r"^general \(")).dispatch_event("click")
    ann.fill("#text", "/rooms")
    ann.press("#text", "Enter")

    # In one's own hands, too: typed here, and shown while it is on its way.
    for payload in PAYLOADS[::10]:
        ann.fill("#text", payload)
        ann.press("#text", "Enter")
    expect(ann.locator("#log .pending")).to_have_count(0)


def test_no_payload_of_a_moderator_runs(pair: tuple[Page, Page]) -> None:
    eve, ann = pair
    eve.evaluate("command('/create court')")
    ann.locator("#rooms button", has_text="court").click()
    expect(ann.locator("#title")).to_have_text("court")
    eve.evaluate(MODERATE, PAYLOADS)
    notices = ann.locator("#log .notice bdi")
    expect(notices.last).to_have_text("you were invited: you may enter p<img> now")
    told = notices.evaluate_all("found => found.map(one => one.textContent)")
    mutes = [f"you may not speak here, by e<img>: {payload}" for payload in PAYLOADS]
    assert [text for text in told if text.startswith("you may not speak")] == mutes
    assert {"court is called c<svg> now", "you are moderator here now"} <= set(told)
    for payload in PAYLOADS[:: len(RUN)]:  # each shape once
        eve.evaluate("topic => ask('update_room', { room: 'c<svg>', topic })", payload)
        until(ann, "topic => session.rooms.get('c<svg>').topic === topic", payload)
        eve.evaluate("reason => ask('kick', { room: 'c<svg>', user: 'ann', reason })", payload)
        until(ann, LAST, f"you were sent out of c<svg>, by e<img>: {payload}")
        expect(ann.locator("#title")).to_have_text("general")
        ann.evaluate("enter('c<svg>')")
        expect(ann.locator("#title")).to_contain_text("c<svg>: ")
