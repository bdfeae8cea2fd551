"""What moderators do, as it shows in the page at ``/`` of those whom it concerns."""

from __future__ import annotations

import re

import pytest
from pages import Come, said, say, texts, until
from playwright.sync_api import Locator, Page, expect


def act(page: Page, action: str, **data: object) -> None:
    """Let somebody do what the page has no command for."""
    page.evaluate("([action, data]) => ask(action, data)", [action, data])


def go(page: Page, room: str) -> None:
    """Click a room in the list and wait until it is the current one."""
    page.locator("#rooms button").filter(has=page.get_by_text(room, exact=True)).click()
    expect(page.locator("#title")).to_have_text(re.compile(rf"^{room}\b"))


def rooms(page: Page) -> Locator:
    return page.locator("#rooms bdi")


def notices(page: Page, text: str | re.Pattern[str]) -> Locator:
    return page.locator("#log .notice bdi").filter(has_text=text)


def seq_of(page: Page, text: str) -> int:
    """The place in the log of a message somebody holds."""
    found = page.evaluate(
        "(text) => [...session.rooms.values()].flatMap((room) => room.lines).find((line) => line.text === text).seq",
        text,
    )
    assert isinstance(found, int)
    return found


def lose_link(page: Page) -> None:
    """Let a page lose its link, and not come back before `find_link`."""
    page.evaluate("""() => new Promise((done) => {
      socket.addEventListener("close", () => { clearTimeout(timer); done(); });
      socket.close(4000);
    })""")
    expect(page.locator("#status")).to_contain_text("trying again")


def find_link(page: Page) -> None:
    page.evaluate("dispatchEvent(new Event('online'))")
    expect(page.locator("#status")).to_have_text("")


@pytest.fixture
def ann(come: Come) -> Page:
    """Owns the room tea, and is in it."""
    ann = come("ann")
    say(ann, "/create tea")
    expect(ann.locator("#title")).to_have_text("tea")
    return ann


@pytest.fixture
def bob(come: Come, ann: Page) -> Page:
    """Is in tea, too."""
    bob = come("bob")
    go(bob, "tea")
    expect(notices(ann, "bob joined")).to_have_count(1)
    return bob


def test_a_removed_message_keeps_its_place_and_not_its_text(ann: Page, bob: Page, come: Come) -> None:
    for text in ("one", "two", "three"):
        say(bob, text)
    said(ann, "three")
    act(ann, "delete_message", room="tea", seq=seq_of(ann, "two"))
    for page in (ann, bob):
        expect(page.locator("#log li.removed")).to_have_count(1)
        assert texts(page) == ["one", "(removed)", "three"]
        expect(page.locator("#log li.message b")).to_have_text(["bob"] * 3)
    say(bob, "/join general")  # tea is not looked at any more
    expect(bob.locator("#title")).to_have_text("general")
    act(ann, "delete_message", room="tea", seq=seq_of(ann, "one"))
    go(bob, "tea")
    assert texts(bob) == ["(removed)", "(removed)", "three"]
    lose_link(bob)
    act(ann, "delete_message", room="tea", seq=seq_of(ann, "three"))
    find_link(bob)
    expect(bob.locator("#log li.removed")).to_have_count(3)
    cas = come("cas")
    go(cas, "tea")  # from history, removed already
    assert texts(cas) == ["(removed)"] * 3
    expect(cas.locator("#log li.removed b")).to_have_text(["bob"] * 3)


def test_what_was_removed_is_not_shown_by_an_older_page_of_history(ann: Page, bob: Page) -> None:
    say(bob, "rude")
    said(ann, "rude")
    seq = seq_of(ann, "rude")
    page = ann.evaluate("ask('history', { room: 'tea' })")
    ann.evaluate("session.rooms.get('tea').lines = []")
    act(bob, "delete_message", room="tea", seq=seq)
    expect(bob.locator("#log li.removed")).to_have_count(1)
    until(ann, "seq => session.rooms.get('tea').seq > seq", seq)
    ann.evaluate("page => { prepend(session.rooms.get('tea'), page.events); draw(); }", page)
    assert texts(ann) == ["(removed)"]


def test_a_removal_leaves_what_is_on_its_way(ann: Page, bob: Page) -> None:
    say(bob, "rude")
    said(ann, "rude")
    seq = seq_of(ann, "rude")
    lose_link(bob)
    say(bob, "waits")
    act(ann, "delete_message", room="tea", seq=seq)
    bob.evaluate("seq => clear(session.rooms.get('tea'), seq)", seq)
    expect(bob.locator("#log li.removed")).to_have_count(1)
    expect(bob.locator("#log .pending bdi")).to_have_text(["waits"])
    find_link(bob)
    for page in (ann, bob):
        said(page, "waits")
        assert texts(page) == ["(removed)", "waits"]
    expect(bob.locator("#log .pending")).to_have_count(0)


def test_who_is_sent_out_reads_why_where_everybody_starts(ann: Page, bob: Page) -> None:
    act(ann, "kick", room="tea", user="bob", reason="spam")
    expect(bob.locator("#title")).to_have_text("general")
    expect(notices(bob, "you were sent out of tea, by ann: spam")).to_have_count(1)
    say(ann, "he is gone")
    said(ann, "he is gone")
    expect(bob.locator("#rooms .unread")).to_have_count(0)
    go(bob, "tea")  # back, and nothing is missing
    said(bob, "he is gone")
    say(bob, "/join general")
    expect(bob.locator("#title")).to_have_text("general")
    act(ann, "ban", room="tea", user="bob")  # while looking elsewhere
    expect(notices(bob, re.compile("^you were banned from tea, by ann$"))).to_have_count(1)
    expect(bob.locator("#title")).to_have_text("general")
    bob.get_by_role("button", name="tea (1)").click()
    expect(bob.locator("#log .failed")).to_contain_text("banned")
    expect(bob.locator("#title")).to_have_text("general")


def test_what_was_said_in_a_room_one_is_sent_out_of_does_not_wait_for_ever(ann: Page, bob: Page) -> None:
    bob.evaluate("() => { window.real = take; take = () => {}; }")  # its event has not come when its reply has
    say(bob, "last words")
    said(ann, "last words")
    act(ann, "kick", room="tea", user="bob")
    expect(bob.locator("#title")).to_have_text("general")
    bob.evaluate("() => { take = window.real; }")
    go(bob, "tea")
    said(bob, "last words")
    expect(bob.locator("#log .pending")).to_have_count(0)


def test_a_reply_that_comes_when_one_was_sent_out_settles_its_message(ann: Page, bob: Page) -> None:
    bob.evaluate("""() => {
      window.real = answered; window.held = [];
      answered = (message) => held.push(message);
      take = () => {};
    }""")
    say(bob, "last words")
    said(ann, "last words")
    act(ann, "kick", room="tea", user="bob")
    expect(bob.locator("#title")).to_have_text("general")
    assert bob.evaluate("session.outbox.length") == 1
    bob.evaluate("() => { answered = window.real; for (const message of held) answered(message); }")
    until(bob, "() => session.outbox.length === 0")


def test_who_was_sent_out_of_where_everybody_starts_stays_out(ann: Page, bob: Page) -> None:
    say(bob, "/join general")
    expect(bob.locator("#title")).to_have_text("general")
    reason = {"room": "general", "by": "ann", "reason": "", "banned": False}  # only an admin may do it
    bob.evaluate(
        "data => ask('leave_room', { room: 'general' }).then(() => receive({ action: 'removed_from_room', data }))",
        reason,
    )
    expect(notices(bob, "you were sent out of general, by ann")).to_have_count(1)
    say(bob, "hello?")
    expect(bob.locator("#log .failed")).to_contain_text("you are not in")
    go(bob, "general")
    say(bob, "hello!")
    said(bob, "hello!")


def test_a_private_room_leaves_the_list_when_one_may_not_know_of_it(ann: Page, come: Come) -> None:
    bob = come("bob")
    act(ann, "create_room", room="den", private=True)
    expect(rooms(bob)).to_have_text(["general", "tea"])
    act(ann, "invite", room="den", user="bob")
    expect(notices(bob, "you were invited: you may enter den now")).to_have_count(1)
    expect(rooms(bob)).to_have_text(["den", "general", "tea"])
    go(bob, "den")
    act(ann, "kick", room="den", user="bob")  # who may come back
    expect(notices(bob, "you were sent out of den, by ann")).to_have_count(1)
    expect(rooms(bob)).to_have_text(["den", "general", "tea"])
    go(bob, "den")
    act(ann, "withdraw", room="den", user="bob")
    expect(notices(bob, "you were sent out of den: you are no longer a member of the room")).to_have_count(1)
    expect(bob.locator("#title")).to_have_text("general")
    expect(rooms(bob)).to_have_text(["general", "tea"])
    act(ann, "update_room", room="tea", private=True)  # in which he is not
    expect(rooms(bob)).to_have_text(["general"])
    expect(bob.locator("#log .notice").last).to_contain_text("you were sent out of den")


def test_a_closed_room_is_left(ann: Page, bob: Page) -> None:
    act(ann, "update_room", room="tea", closed=True)
    expect(notices(bob, "you were sent out of tea: the room is closed")).to_have_count(1)
    expect(bob.locator("#title")).to_have_text("general")


def test_a_room_that_is_gone_after_a_lost_link_is_left(ann: Page, bob: Page) -> None:
    lose_link(bob)
    act(ann, "delete_room", room="tea")
    find_link(bob)
    expect(bob.locator("#title")).to_have_text("general")
    expect(notices(bob, "you are no longer in tea")).to_have_count(1)
    expect(rooms(bob)).to_have_text(["general"])
    say(bob, "still here")
    said(bob, "still here")


def test_a_room_that_is_deleted_is_told_wherever_one_looks(ann: Page, bob: Page) -> None:
    say(bob, "/join general")
    expect(bob.locator("#title")).to_have_text("general")
    act(ann, "delete_room", room="tea")
    for page in (ann, bob):
        expect(page.locator("#title")).to_have_text("general")
        expect(notices(page, "tea was deleted")).to_have_count(1)
        expect(rooms(page)).to_have_text(["general"])


def test_a_renamed_room_goes_on(ann: Page, bob: Page, come: Come) -> None:
    cas = come("cas")
    go(cas, "tea")
    say(cas, "/join general")
    expect(cas.locator("#title")).to_have_text("general")
    say(bob, "before")
    expect(cas.locator("#rooms .unread")).to_contain_text("tea")
    act(ann, "update_room", room="tea", name="coffee")
    expect(bob.locator("#title")).to_have_text("coffee")
    expect(cas.locator("#title")).to_have_text("general")
    expect(rooms(bob)).to_have_text(["coffee", "general"])
    expect(notices(bob, "tea is called coffee now")).to_have_count(1)
    expect(cas.locator("#rooms .unread")).to_contain_text("coffee")
    say(bob, "after")
    for page in (ann, bob):
        said(page, "after")
        assert texts(page) == ["before", "after"]


def test_a_message_on_its_way_follows_a_room_that_is_renamed(ann: Page, bob: Page) -> None:
    bob.evaluate("() => { window.real = receive; window.held = []; receive = (message) => held.push(message); }")
    act(ann, "update_room", room="tea", name="coffee")
    say(bob, "to tea")  # not heard yet
    until(bob, "() => held.some((message) => message.action === 'error')")
    bob.evaluate("() => { receive = window.real; for (const message of held) receive(message); }")
    for page in (ann, bob):
        said(page, "to tea")
    expect(bob.locator("#log .pending")).to_have_count(0)
    expect(bob.locator("#log .failed")).to_have_count(0)


def test_a_room_that_was_renamed_while_one_was_away_goes_on(ann: Page, bob: Page) -> None:
    say(ann, "before")
    said(bob, "before")
    lose_link(bob)
    say(bob, "waits")
    act(ann, "update_room", room="tea", name="coffee")
    say(ann, "meanwhile")
    said(ann, "meanwhile")
    find_link(bob)
    expect(bob.locator("#title")).to_have_text("coffee")
    expect(notices(bob, "tea is called coffee now")).to_have_count(1)
    expect(rooms(bob)).to_have_text(["coffee", "general"])
    for page in (ann, bob):
        said(page, "waits")
        assert texts(page) == ["before", "meanwhile", "waits"]


def test_a_room_that_was_renamed_and_set_back_meanwhile_begins_anew(ann: Page, bob: Page) -> None:
    say(ann, "before")
    said(bob, "before")
    bob.evaluate("() => { session.rooms.get('tea').seq = 1000; }")  # the server has less: it is a backup
    lose_link(bob)
    act(ann, "update_room", room="tea", name="coffee")
    find_link(bob)
    say(ann, "after")
    said(bob, "after")
    assert texts(bob) == ["before", "after"]


def test_a_mute_is_told_once(ann: Page, bob: Page) -> None:
    act(ann, "mute", room="tea", user="bob", reason="too loud")
    silent = notices(bob, re.compile("^you may not speak here, by ann: too loud$"))
    expect(silent).to_have_count(1)
    say(bob, "hello?")
    expect(bob.locator("#log .failed")).to_have_count(1)
    lose_link(bob)
    find_link(bob)
    say(bob, "/help")  # behind what is told after a login
    expect(notices(bob, "/join room")).to_have_count(1)
    expect(silent).to_have_count(1)
    act(ann, "mute", room="tea", user="bob", seconds=3600)
    expect(notices(bob, re.compile(r"you may not speak here until .*\d+:\d\d.*, by ann$"))).to_have_count(1)
    act(ann, "unmute", room="tea", user="bob")
    expect(notices(bob, "you may speak here again")).to_have_count(1)
    say(bob, "hello!")
    said(ann, "hello!")


def test_a_mute_that_was_lifted_while_one_was_away_is_over(ann: Page, bob: Page) -> None:
    act(ann, "mute", room="tea", user="bob")
    expect(notices(bob, "you may not speak here")).to_have_count(1)
    lose_link(bob)
    act(ann, "unmute", room="tea", user="bob")
    find_link(bob)
    expect(notices(bob, "you may speak here again")).to_have_count(1)
    act(ann, "mute", room="tea", user="bob")
    expect(notices(bob, "you may not speak here")).to_have_count(2)


def test_that_a_mute_ran_out_is_not_told_when_one_comes_back(ann: Page, bob: Page) -> None:
    act(ann, "mute", room="tea", user="bob", seconds=1)
    expect(notices(bob, "you may not speak here until")).to_have_count(1)
    until(bob, "() => Date.now() > session.rooms.get('tea').muted.until")
    lose_link(bob)
    find_link(bob)
    say(bob, "hello!")  # sent when what is told after a login was told
    said(bob, "hello!")
    expect(notices(bob, "you may speak here again")).to_have_count(0)


def test_a_mute_is_told_to_who_comes_back_into_the_room(ann: Page, bob: Page) -> None:
    act(ann, "mute", room="tea", user="bob")
    expect(notices(bob, "you may not speak here")).to_have_count(1)
    say(bob, "/leave")
    expect(bob.locator("#title")).to_have_text("general")
    go(bob, "tea")
    expect(notices(bob, "you may not speak here")).to_have_count(1)


def test_what_a_room_is_like_and_who_has_a_say_is_told(ann: Page, bob: Page) -> None:
    act(ann, "update_room", room="tea", topic="green or black")
    expect(notices(bob, "the topic is now: green or black")).to_have_count(1)
    expect(bob.locator("#title")).to_have_text("tea: green or black")
    for change, sentence in (
        ({"topic": ""}, "there is no topic any more"),
        ({"read_only": True}, "only moderators may speak here now"),
        ({"read_only": False}, "members, too, may speak here now"),
        ({"slow": 10}, "slow mode: one message every 10 s"),
        ({"slow": 0}, "slow mode is off"),
    ):
        act(ann, "update_room", room="tea", **change)
        expect(notices(bob, sentence)).to_have_count(1)
    expect(bob.locator("#title")).to_have_text("tea")
    act(ann, "set_role", room="tea", user="bob", role="moderator")
    expect(notices(bob, "you are moderator here now")).to_have_count(1)
    expect(notices(ann, "bob is moderator here now")).to_have_count(1)
