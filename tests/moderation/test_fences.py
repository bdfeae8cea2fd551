"""What waits for its commit behind an act that takes rights away is judged again, and harms nobody."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
from places import PASSWORD, Place, game, place

from chatkit.backend.records import Change
from chatkit.engine.login import Identity
from chatkit.protocol.messages import Login


class Gate:
    """Holds a store's commits up, from the next on, until it is opened."""

    def __init__(self, here: Place) -> None:
        self._here = here
        self._open = trio.Event()
        self.reached = trio.Event()
        here.store.before_commit = self._wait

    async def _wait(self, changes: Sequence[Change]) -> None:
        self.reached.set()
        await self._open.wait()

    def open(self) -> None:
        self._here.store.before_commit = None
        self._open.set()


async def queued(here: Place, count: int) -> None:
    """Return when so many changes wait for their commit behind the one that is held up."""
    with trio.fail_after(5):
        while here.site.server._core.committer.waiting < count:  # noqa: ASYNC110  # the server has no event for it
            await trio.sleep(0.001)


async def test_what_an_extension_publishes_for_somebody_who_is_banned_meanwhile_is_refused() -> None:
    async with place(extensions=[game()]) as here:
        root, eve = await here.account("root", role="admin"), await here.account("eve")
        bystander = await here.site.user("bob")
        gate = Gate(here)
        await bystander.send("send_message", room="general", text="first")
        await gate.reached.wait()
        await root.send("ban", user="eve")
        await queued(here, 1)
        await eve.send("game.move", room="general", to="e4")
        await queued(here, 2)
        gate.open()
        assert (await root.reply())["action"] == "success"
        assert (await eve.wait_end())[0] == 4403
        assert [row.kind for row in await here.rows("general")] == ["message"]
        assert (await bystander.reply())["action"] == "success"
        await bystander.data("send_message", room="general", text="the server goes on")


async def behind(
    here: Place, act: Any, *sends: Any, last: Any = None, kind: str = "tcp", name: str = "bystander"
) -> None:
    """Let an act, and then what others send, wait behind a commit that is held up; then let it all through."""
    bystander = await here.site.user(name, kind)
    gate = Gate(here)
    await bystander.send("send_message", room="general", text="held up")
    await gate.reached.wait()
    await act()
    await queued(here, 1)
    for number, send in enumerate(sends, start=2):
        await send()
        await queued(here, number)
    if last is not None:
        await last()
    gate.open()
    assert (await bystander.reply())["action"] == "success"


async def test_a_moderator_who_is_demoted_meanwhile_removes_nothing() -> None:
    async with place() as here:
        own, mod, eve = [await here.account(name) for name in ("own", "mod", "eve")]
        await own.data("create_room", room="den")
        for wire in (mod, eve):
            await wire.data("join_room", room="den")
        said = [(await eve.data("send_message", room="den", text=f"{n}"))["seq"] for n in range(3)]
        await own.data("set_role", room="den", user="mod", role="moderator")
        await behind(
            here,
            lambda: own.send("set_role", room="den", user="mod", role="member"),
            lambda: mod.send("delete_message", room="den", seq=said[0]),
        )
        assert (await own.reply())["action"] == "success"
        assert (await mod.reply())["data"]["code"] == "forbidden"
        assert [row.body for row in await here.rows("den")] == ["0", "1", "2"]


async def test_a_moderator_who_is_demoted_after_their_link_ended_does_nothing_any_more() -> None:
    async with place() as here:
        own, eve = await here.account("own"), await here.account("eve")
        mod = await here.site.user("mod")
        await own.data("create_room", room="den")
        for wire in (mod, eve):
            await wire.data("join_room", room="den")
        await own.data("set_role", room="den", user="mod", role="moderator")
        newer = await here.site.wire()

        async def ends() -> None:
            await newer.data("login", user="mod", token=mod.token)
            assert (await mod.wait_end())[0] == 4409

        await behind(
            here,
            lambda: own.send("set_role", room="den", user="mod", role="member"),
            lambda: mod.send("ban", room="den", user="eve"),
            last=ends,
        )
        assert (await own.reply())["action"] == "success"
        assert not (await own.data("list_bans", room="den"))["bans"]
        assert [entry["act"] for entry in (await own.data("audit", room="den"))["entries"]] == ["set_role", "set_role"]


async def test_a_login_with_the_old_password_that_is_under_way_does_not_get_in() -> None:
    async with place() as here:
        ann, thief = await here.account("ann"), await here.site.wire()
        new = "another password"
        await behind(
            here,
            lambda: ann.send("change_password", password=PASSWORD, new_password=new),
            lambda: thief.send("login", user="ann", password=PASSWORD),
        )
        assert (await ann.reply())["action"] == "success"
        assert (await thief.reply())["action"] == "error"
        assert await thief.code("login", user="ann", password=PASSWORD) == "bad_credentials"
        assert len((await ann.data("sessions"))["sessions"]) == 1
        await thief.data("login", user="ann", password=new)


async def test_somebody_vouched_for_whose_login_waits_does_not_come_in_as_a_guest() -> None:
    async def vouch(login: Login, address: str | None) -> Identity | None:
        return Identity(id="7", name="Ann_Lee") if login.token == "good" else None

    async with place(authenticator=vouch) as here:
        root, bob = await here.account("root", role="admin"), await here.account("bob")
        ann = await here.site.wire()
        await behind(
            here,
            lambda: root.send("kick", user="bob"),
            lambda: ann.send("login", user="ann", token="good"),
        )
        assert (await root.reply())["action"] == "success"
        assert (await bob.wait_end())[0] == 4403
        reply = await ann.reply()
        assert (reply["data"]["user"], reply["data"]["role"]) == ("Ann_Lee", "member")
        assert {user.name for user in here.site.server._core.engine.users.values()} >= {"root", "Ann_Lee"}
        assert "ann" not in here.site.server._core.engine.users


async def test_devices_that_come_back_at_that_moment_do_not_keep_a_password_from_being_changed() -> None:
    async with place() as here:
        ann, other = await here.account("ann"), await here.device("ann")
        again = await here.site.wire()
        bystander = await here.site.user("bob")
        gate = Gate(here)
        await bystander.send("send_message", room="general", text="held up")
        await gate.reached.wait()
        await again.send("login", user="ann", token=other.token)
        await queued(here, 1)
        await ann.send("change_password", password=PASSWORD, new_password="another password")
        await queued(here, 2)
        gate.open()
        assert (await ann.reply())["action"] == "success"
        with trio.fail_after(5):
            while (await again.receive_raw()) is not None:
                pass
        assert len((await ann.data("sessions"))["sessions"]) == 1


async def test_a_token_that_is_made_at_that_moment_goes_with_the_others() -> None:
    async with place() as here:
        ann, thief = await here.account("ann"), await here.device("ann")
        bystander = await here.site.user("bob")
        gate = Gate(here)
        await bystander.send("send_message", room="general", text="held up")
        await gate.reached.wait()
        await thief.send("create_token", label="spare")
        await queued(here, 1)
        await ann.send("change_password", password=PASSWORD, new_password="another password", revoke_tokens=True)
        await queued(here, 2)
        gate.open()
        assert (await ann.reply())["action"] == "success"
        assert len((await ann.data("sessions"))["sessions"]) == 1
        assert (await thief.wait_end())[0] == 4403


@pytest.mark.parametrize("by", ["password", "token", "register", "address"])
async def test_whoever_comes_in_while_they_are_banned_is_out(by: str) -> None:
    async with place() as here:
        root, eve = await here.account("root", "memory", role="admin"), await here.account("eve")
        token = eve.token
        again = await here.site.wire("ws")
        data = {
            "password": {"user": "eve", "password": PASSWORD},
            "token": {"user": "eve", "token": token},
            "register": {"user": "adam", "password": PASSWORD},
            "address": {"user": "eve", "token": token},
        }[by]
        whom = {"address": "127.0.0.1"} if by == "address" else {"user": data["user"]}
        await behind(
            here,
            lambda: root.send("ban", **whom),
            lambda: again.send("register" if by == "register" else "login", **data),
            kind="memory",
        )
        assert (await root.reply())["action"] == "success"
        reply = await again.reply()
        assert (reply["action"], reply["data"]["code"]) == ("error", "banned")
        assert "adam" not in here.site.server._core.engine.world.accounts_by_key
        assert await again.code("list_rooms") == "not_logged_in"


async def test_a_revoked_device_that_comes_back_at_that_moment_is_out() -> None:
    async with place() as here:
        ann, other = await here.account("ann"), await here.device("ann")
        other.cut()
        again = await here.site.wire()
        await behind(
            here,
            lambda: ann.send("revoke"),
            lambda: again.send("login", user="ann", token=other.token),
        )
        assert (await ann.reply())["action"] == "success"
        assert (await again.reply())["action"] == "error"
        assert await again.code("login", user="ann", token=other.token) == "bad_credentials"


async def test_whoever_loses_a_room_they_own_changes_it_no_more() -> None:
    async with place() as here:
        root, own, _ = await here.account("root", role="admin"), await here.account("own"), await here.account("eve")
        await own.data("create_room", room="den")
        for action, data in (
            ("set_role", {"room": "den", "user": "eve", "role": "owner"}),
            ("update_room", {"room": "den", "private": True}),
            ("invite", {"room": "den", "user": "eve"}),
            ("delete_room", {"room": "den"}),
            ("ban", {"room": "den", "user": "eve"}),
            ("rename", {"user": "other"}),
        ):
            await behind(
                here,
                lambda: root.send("set_role", room="den", user="own", role="member"),
                lambda: own.send(action, **data),  # noqa: B023  # called before the next turn
                name=f"by.{action}",
            )
            assert (await root.reply())["action"] == "success"
            expected = "success" if action == "rename" else "error"
            assert (await own.reply())["action"] == expected, action
            await root.data("set_role", room="den", user="own" if action != "rename" else "other", role="owner")
