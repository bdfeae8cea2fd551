"""Who is who: every way to come in, and each of the answers to those who may not, over real links."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

import pytest
import trio
from attrs import evolve
from places import PASSWORD, Place, place
from wires import KINDS, Wire

from chatkit.backend.records import Ban, Invitation, Remove
from chatkit.engine.limits import DAY, EngineLimits
from chatkit.engine.login import Identity
from chatkit.engine.secrets import digest_of
from chatkit.errors import RequestFailed
from chatkit.protocol.messages import Login
from chatkit.server import ServerConfig

MINUTE = 60_000


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Clock:
    """A time of day that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


def timed() -> tuple[Clock, ServerConfig]:
    clock = Clock()
    return clock, ServerConfig(rate_limits=False, now_ms=clock)


async def refusal(wire: Wire, action: str = "login", **data: Any) -> tuple[str, str]:
    reply = await wire.ask(action, **data)
    assert reply["action"] == "error", reply
    return reply["data"]["code"], reply["data"]["message"]


# ── ways to come in ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_guests_and_accounts_come_in_over_every_binding(kind: str) -> None:
    async with place() as here:
        guest = await here.site.wire(kind)
        reply = await guest.data("login", user="gus")
        assert (reply["user"], reply["role"]) == ("gus", "guest")
        ann = await here.site.wire(kind)
        reply = await ann.data("register", user="Ann", password=PASSWORD, device="desk")
        assert (reply["user"], reply["role"]) == ("Ann", "member")
        for login in ({"password": PASSWORD}, {"token": reply["token"]}):
            wire = await here.site.wire(kind)
            again = await wire.data("login", user="ann", device="lap", **login)
            assert (again["user"], again["role"]) == ("Ann", "member")
            assert again["token"] != reply["token"]
            await wire.data("send_message", room="general", text="hi")
        stranger = await here.site.wire(kind)
        assert (await refusal(stranger, user="ann"))[0] == "bad_credentials"
        assert (await refusal(stranger, "register", user="ANN", password=PASSWORD))[0] == "name_taken"
        assert (await refusal(stranger, "register", user="gus", password=PASSWORD))[0] == "name_taken"
        assert await stranger.code("register", user="eve", password="short") == "bad_request"


async def test_what_is_offered_is_what_is_open() -> None:
    for limits, ways in {
        EngineLimits(): ["guest", "password", "token", "register"],
        EngineLimits(guests="read-only", registration="invitation"): ["guest", "password", "token", "invitation"],
        EngineLimits(guests="no", registration="closed"): ["password", "token"],
    }.items():
        async with place(limits=limits) as here:
            wire = await here.site.wire(hello=False)
            assert (await wire.receive())["data"]["auth"] == ways


async def test_without_guests_a_name_is_not_enough() -> None:
    async with place(limits=EngineLimits(guests="no")) as here:
        wire = await here.site.wire()
        assert (await refusal(wire, user="gus"))[0] == "bad_credentials"
        assert (await refusal(wire, user="gus", token="x" * 40))[0] == "bad_credentials"
        await wire.data("register", user="gus", password=PASSWORD)


async def test_guests_who_only_read_read_and_do_not_speak(kind: str) -> None:
    async with place(limits=EngineLimits(guests="read-only")) as here:
        ann, gus = await here.account("ann", kind), await here.site.user("gus", kind)
        await ann.data("send_message", room="general", text="hello")
        assert await gus.texts("hello") == [(1, "hello")]
        assert len((await gus.data("history", room="general"))["events"]) == 1
        assert await gus.code("send_message", room="general", text="hi") == "muted"
        assert await gus.code("create_room", room="den") == "forbidden"
        assert len(await here.rows("general")) == 1


async def test_registration_can_be_closed() -> None:
    async with place(limits=EngineLimits(registration="closed")) as here:
        wire = await here.site.wire()
        assert (await refusal(wire, "register", user="ann", password=PASSWORD))[0] == "forbidden"
        assert (await refusal(wire, "register", user="ann", password=PASSWORD, invitation="x"))[0] == "forbidden"


@pytest.mark.parametrize("registration", ["invitation", "closed"])
async def test_an_invitation_lets_so_many_in_until_it_runs_out(registration: Any) -> None:
    clock, config = timed()
    async with place(limits=EngineLimits(registration=registration), config=config) as here:

        def invitation(number: int, **more: Any) -> Invitation:
            return Invitation(id=f"i{number}", digest=digest_of(f"secret {number}"), by="#operator", **more)

        await here.put(invitation(1, uses=2, role="member"))
        await here.put(invitation(2, expires_at=clock.now + MINUTE))
        await here.put(invitation(3, role="admin"))
        numbers = count()

        async def comes(secret: str | None) -> str:
            wire = await here.site.wire()
            more = {} if secret is None else {"invitation": secret}
            reply = await wire.ask("register", user=f"user{next(numbers)}", password=PASSWORD, **more)
            return str(reply["data"].get("code") or reply["data"]["role"])

        assert [await comes("secret 1") for _ in range(3)] == ["member", "member", "forbidden"]
        assert await comes(None) == "forbidden"
        assert await comes("secret 9") == "forbidden"
        clock.now += MINUTE
        assert await comes("secret 2") == "forbidden"
        assert await comes("secret 3") == "admin"


async def test_two_who_use_one_invitation_at_once_both_come_in() -> None:
    async with place(limits=EngineLimits(registration="invitation")) as here:
        await here.put(Invitation(id="i1", digest=digest_of("secret"), by="#operator", uses=3))
        wires = [await here.site.wire() for _ in range(5)]
        for number, wire in enumerate(wires):
            await wire.send("register", user=f"user{number}", password=PASSWORD, invitation="secret")
        actions = sorted([(await wire.reply())["action"] for wire in wires])
        assert actions == ["error"] * 2 + ["success"] * 3


# ── those who may not ────────────────────────────────────────────────────────────────────────────────────────────────


def same_but_for_when(raw: bytes | str) -> str:
    envelope = json.loads(raw)
    del envelope["timestamp"]
    return json.dumps(envelope)


async def test_wrong_passwords_and_unknown_names_get_the_same_bytes() -> None:
    async with place() as here:
        await here.account("ann")
        off = await here.account("off")
        await off.aclose()
        await here.put(evolve(here.record("off"), disabled=True), here.record("off"))
        await here.put(evolve(here.record("ann"), id="@2", name="nopass", key="nopass", password=None))
        root = await here.account("root", role="admin")
        out = await here.account("out")
        await out.aclose()
        await root.data("ban", user="out")
        answers = set()
        for user in ("ann", "nobody", "off", "nopass", "out"):
            wire = await here.site.wire()
            await wire.send("login", 7, user=user, password="not the one")
            raw = await wire.receive_raw()
            assert raw is not None
            answers.add(same_but_for_when(raw))
        assert len(answers) == 1, answers
        assert "bad_credentials" in answers.pop()


async def test_a_disabled_account_is_told_so_when_it_proves_who_it_is(kind: str) -> None:
    async with place() as here:
        ann = await here.account("ann", kind)
        other = await here.device("ann", "ws")
        await here.put(evolve(here.record("ann"), disabled=True), here.record("ann"))
        for wire in (ann, other):
            assert await wire.wait_end() == (4403, "this account is disabled")
        wire = await here.site.wire(kind)
        for login in ({"password": PASSWORD}, {"token": ann.token}):
            assert await refusal(wire, user="ann", **login) == ("forbidden", "this account is disabled")
        assert (await refusal(wire, user="ann"))[0] == "bad_credentials"
        await here.put(evolve(here.record("ann"), disabled=False), here.record("ann"))
        await wire.data("login", user="ann", token=other.token)


async def test_a_login_that_is_not_used_runs_out() -> None:
    clock, config = timed()
    async with place(limits=EngineLimits(session_life=30 * DAY), config=config) as here:
        ann = await here.account("ann")
        await ann.aclose()
        clock.now += int(30 * DAY * 1000) - 1
        again = await here.site.wire()
        token = (await again.data("login", user="ann", token=ann.token))["token"]
        await again.aclose()
        clock.now += int(30 * DAY * 1000)
        wire = await here.site.wire()
        assert (await refusal(wire, user="ann", token=token))[0] == "bad_credentials"
        await wire.data("login", user="ann", password=PASSWORD)


async def test_the_token_of_a_deleted_account_is_nobodys() -> None:
    async with place() as here:
        ann = await here.account("ann")
        record = here.record("ann")
        await here.store.commit([Remove(record=record)])
        assert await ann.wait_end() == (4403, "the account is gone")
        wire = await here.site.wire()
        assert (await refusal(wire, user="ann", token=ann.token))[0] == "bad_credentials"
        assert (await refusal(wire, user="ann", password=PASSWORD))[0] == "bad_credentials"
        assert (await wire.data("login", user="ann"))["role"] == "guest"


async def test_a_guest_cannot_bring_what_looks_like_an_accounts_token() -> None:
    async with place() as here:
        wire = await here.site.wire()
        for token in ("chatkit_s_" + "0" * 48, "chatkit_t_" + "0" * 48):
            assert (await refusal(wire, user="gus", token=token))[0] == "bad_credentials"


# ── bans from the server ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_banned_account_is_out_until_its_term_ends(kind: str) -> None:
    clock, config = timed()
    async with place(config=config) as here:
        root, eve = await here.account("root", role="admin"), await here.account("eve", kind)
        other = await here.device("eve", "tcp")
        made = await root.data("ban", user="EVE", seconds=60, reason="noise")
        assert (made["kind"], made["value"], made["reason"], made["by"]) == ("account", "eve", "noise", "root")
        for wire in (eve, other):
            assert await wire.wait_end() == (4403, "banned until 2023-11-14T22:14:20.000Z: noise")
        wire = await here.site.wire(kind)
        for login in ({"password": PASSWORD}, {"token": eve.token}):
            code, message = await refusal(wire, user="eve", **login)
            assert code == "banned"
            assert "2023-11-14T22:14:20.000Z: noise" in message
        clock.now += MINUTE - 1
        assert (await refusal(wire, user="eve", token=eve.token))[0] == "banned"
        clock.now += 1
        await wire.data("login", user="eve", token=eve.token)
        assert not (await root.data("list_bans")).get("bans")


async def test_a_banned_guest_is_known_by_name_and_token(kind: str) -> None:
    async with place() as here:
        root, gus = await here.account("root", role="admin"), await here.site.user("gus", kind)
        await root.data("ban", user="gus")
        assert (await gus.wait_end())[0] == 4403
        wire = await here.site.wire(kind)
        for login in ({"user": "gus"}, {"user": "gus", "token": gus.token}, {"user": "new", "token": gus.token}):
            assert (await refusal(wire, **login))[0] == "banned"
        assert (await refusal(wire, "register", user="GUS", password=PASSWORD))[0] == "banned"
        await wire.data("login", user="new")
        assert await wire.code("rename", user="gus") == "banned"
        await root.data("unban", user="gus")
        again = await here.site.wire(kind)
        await again.data("login", user="gus", token=gus.token)


async def test_a_banned_address_lets_nobody_in_but_admins() -> None:
    async with place() as here:
        root = await here.account("root", "memory", role="admin")
        ann, gus = await here.account("ann"), await here.site.user("gus", "ws")
        chief = await here.account("chief", role="admin")
        made = await root.data("ban", address="127.0.0.77/8", seconds=3600)
        assert (made["kind"], made["value"]) == ("address", "127.0.0.0/8")
        for wire in (ann, gus):
            assert (await wire.wait_end())[0] == 4403
        await chief.data("send_message", room="general", text="admins stay")
        wire = await here.site.wire()
        assert (await refusal(wire, user="new"))[0] == "banned"
        assert (await refusal(wire, user="ann", token=ann.token))[0] == "banned"
        assert (await refusal(wire, "register", user="new", password=PASSWORD))[0] == "banned"
        await wire.data("login", user="chief", password=PASSWORD)
        assert await wire.code("ban", address="127.0.0.1") == "bad_request"  # one's own
        await root.data("unban", user="127.0.0.0/8")
        await here.site.user("new")


async def test_a_name_that_could_be_an_address_is_unbanned_as_what_it_is() -> None:
    async with place() as here:
        root = await here.account("root", role="admin")
        await root.data("ban", user="10.0.0.1")
        assert (await refusal(await here.site.wire(), user="10.0.0.1"))[0] == "banned"
        await root.data("unban", user="10.0.0.1")
        await here.site.user("10.0.0.1")


# ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_account_that_is_renamed_stays_the_same_account(kind: str) -> None:
    async with place() as here:
        ann, other, bob = await here.account("ann", kind), await here.device("ann"), await here.site.user("bob")
        await ann.data("create_room", room="den")
        assert (await ann.data("rename", user="Anna"))["user"] == "Anna"
        for wire in (ann, other, bob):
            assert (await wire.event("user_renamed"))["data"] == {"user": "Anna", "was": "ann"}
        await other.data("join_room", room="den")
        await other.data("update_room", room="den", topic="mine still")
        await here.site.user("ann", kind)
        wire = await here.site.wire(kind)
        assert (await refusal(wire, user="ann", password=PASSWORD))[0] == "bad_credentials"
        # The token says who it is, whatever name comes with it.
        assert (await wire.data("login", user="ann", token=ann.token))["user"] == "Anna"
        assert (await here.device("anna")).token
        assert await bob.code("rename", user="ANNA") == "name_taken"
        assert await bob.code("rename", user="\u0430nna") == "name_taken"


async def test_whoever_registers_a_name_beside_the_server_has_it() -> None:
    async with place() as here:
        gus, ann = await here.site.user("gus"), await here.account("ann")
        await here.put(evolve(here.record("ann"), id="@7", name="Gus", key="gus"))
        assert (await gus.wait_end())[0] == 4403
        await here.device("gus")
        await ann.sync()


# ── devices and tokens ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_many_devices_are_one_person(kind: str) -> None:
    async with place() as here:
        bob = await here.site.user("bob")
        first = await here.account("ann", kind, device="desk")
        others = [await here.device("ann", kind, device=f"pocket {n}") for n in range(3)]
        users = (await bob.data("list_users", room="general"))["users"]
        assert [user["user"] for user in users] == ["ann", "bob"]
        await others[0].data("send_message", room="general", text="from one")
        for wire in (first, *others, bob):
            assert (await wire.texts("from one"))[-1][1] == "from one"
        listed = (await first.data("sessions"))["sessions"]
        assert sorted(one["label"] for one in listed) == ["desk", "pocket 0", "pocket 1", "pocket 2"]
        assert all(one["online"] for one in listed)
        assert [one["label"] for one in listed if one["current"]] == ["desk"]
        gone = next(one["id"] for one in listed if one["label"] == "pocket 1")
        await first.data("revoke", session=gone)
        assert (await others[1].wait_end())[0] == 4403
        wire = await here.site.wire(kind)
        assert (await refusal(wire, user="ann", token=others[1].token))[0] == "bad_credentials"
        await first.data("revoke")
        for other in (others[0], others[2]):
            assert (await other.wait_end())[0] == 4403
        assert len((await first.data("sessions"))["sessions"]) == 1
        assert await first.code("revoke", session=gone) == "bad_request"


async def test_a_newer_link_of_a_device_takes_over_from_the_older(kind: str) -> None:
    async with place() as here:
        ann, other = await here.account("ann", kind), await here.device("ann")
        newer = await here.site.wire(kind)
        await newer.data("login", user="ann", token=ann.token)
        assert (await ann.wait_end())[0] == 4409
        await other.data("send_message", room="general", text="the other device stays")


async def test_a_token_is_replaced_when_it_is_used_and_the_old_one_counts_until_the_new_one_does(kind: str) -> None:
    async with place() as here:
        ann = await here.account("ann", kind)
        first = ann.token
        second = (await (await here.site.wire(kind)).data("login", user="ann", token=first))["token"]
        # That answer was lost: the device comes back with the one it has.
        third = (await (await here.site.wire(kind)).data("login", user="ann", token=first))["token"]
        assert len({first, second, third}) == 3
        wire = await here.site.wire(kind)
        assert (await refusal(wire, user="ann", token=second))[0] == "bad_credentials"
        fourth = (await wire.data("login", user="ann", token=third))["token"]
        stranger = await here.site.wire(kind)
        for old in (first, second):
            assert (await refusal(stranger, user="ann", token=old))[0] == "bad_credentials"
        assert (await refusal(stranger, user="ann", token=fourth[:-1]))[0] == "bad_credentials"
        assert len((await wire.data("sessions"))["sessions"]) == 1


def tries(number: int, client: str = "run 1") -> dict[str, Any]:
    return {"client": client, "number": number}


@pytest.mark.parametrize("who", ["account", "guest"])
async def test_a_login_that_arrives_behind_a_later_one_takes_nothing_over(who: str, kind: str) -> None:
    async with place() as here:
        ann = await (here.account("ann") if who == "account" else here.site.user("ann"))
        token = ann.token
        abandoned, newer = await here.site.wire(kind), await here.site.wire(kind)
        newest = (await newer.data("login", user="ann", token=token, attempt=tries(2)))["token"]
        late = {"user": "ann", "token": token, "attempt": tries(1)}
        code, why = await refusal(abandoned, **late)
        assert (code, why) == ("forbidden", "a later link of yours has logged in already")
        await newer.data("send_message", room="general", text="still here")
        again = await here.site.wire(kind)
        await again.data("login", user="ann", token=newest, attempt=tries(3))
        assert (await newer.wait_end())[0] == 4409
        # Nobody else's tries are compared with these, nor the same one again.
        for attempt in (tries(3), tries(1, "run 2"), None, tries(0, "run 1")):
            other = await here.site.wire(kind)
            more = {} if attempt is None else {"attempt": attempt}
            newest = (await other.data("login", user="ann", token=newest, **more))["token"]
            assert (await again.wait_end())[0] == 4409
            again = other


async def test_a_late_login_does_not_make_the_newest_token_worthless() -> None:
    async with place() as here:
        ann = await here.account("ann")
        abandoned, newer = await here.site.wire(), await here.site.wire()
        newest = (await newer.data("login", user="ann", token=ann.token, attempt=tries(2)))["token"]
        await newer.aclose()
        assert (await refusal(abandoned, user="ann", token=ann.token, attempt=tries(1)))[0] == "forbidden"
        again = await here.site.wire()
        await again.data("login", user="ann", token=newest, attempt=tries(3))
        assert len(here.site.server._core.engine.world.attempts) == 1
        await again.send("logout")
        await again.wait_end()
        assert not here.site.server._core.engine.world.attempts


async def test_what_is_no_attempt_is_refused() -> None:
    async with place() as here:
        wire = await here.site.wire()
        for attempt in (7, {}, {"client": "x"}, {"client": "", "number": 1}, {"client": "x" * 65, "number": 1}):
            assert (await refusal(wire, user="ann", attempt=attempt))[0] == "bad_request"
        for number in (-1, 1.5, "1", 2**53):
            assert (await refusal(wire, user="ann", attempt={"client": "x", "number": number}))[0] == "bad_request"
        await wire.data("login", user="ann", attempt=None)


async def test_a_logout_is_for_good(kind: str) -> None:
    async with place() as here:
        ann, other = await here.account("ann", kind), await here.device("ann")
        await ann.send("logout")
        assert (await ann.wait_end())[0] == 4403
        wire = await here.site.wire(kind)
        assert (await refusal(wire, user="ann", token=ann.token))[0] == "bad_credentials"
        assert len((await other.data("sessions"))["sessions"]) == 1


async def test_a_changed_password_logs_every_other_device_out(kind: str) -> None:
    async with place() as here:
        ann, others = await here.account("ann", kind), [await here.device("ann", one) for one in ("ws", "tcp")]
        made = await ann.data("create_token", label="a program")
        robot = await here.site.wire()
        await robot.data("login", user="ann", token=made["token"])
        assert await ann.code("change_password", password="not it at all", new_password="x" * 10) == "bad_credentials"
        assert await ann.code("change_password", password=PASSWORD, new_password="short") == "bad_request"
        await ann.data("change_password", password=PASSWORD, new_password="another password")
        for other in others:
            assert (await other.wait_end())[0] == 4403
        await ann.data("send_message", room="general", text="this one stays")
        await robot.sync()  # a program's token is revoked by itself
        wire = await here.site.wire(kind)
        assert (await refusal(wire, user="ann", password=PASSWORD))[0] == "bad_credentials"
        for other in others:
            assert (await refusal(wire, user="ann", token=other.token))[0] == "bad_credentials"
        await wire.data("login", user="ann", password="another password")
        newer = await here.site.wire(kind)
        await newer.data("login", user="ann", token=ann.token)


async def test_a_changed_password_takes_the_programs_tokens_too_where_that_is_asked_for(kind: str) -> None:
    async with place() as here:
        ann, bob = await here.account("ann", kind), await here.account("bob")
        secrets = [(await ann.data("create_token", label=f"program {n}"))["token"] for n in range(2)]
        others = [(await bob.data("create_token", label="another's"))["token"]]
        robots = [await here.site.wire(kind) for _ in secrets]
        for robot, secret in zip(robots, secrets, strict=True):
            await robot.data("login", user="ann", token=secret)
        changing = {"password": PASSWORD, "new_password": "another password"}
        assert await ann.code("change_password", **changing, revoke_tokens="yes") == "bad_request"
        await ann.data("change_password", **changing, revoke_tokens=True)
        for robot in robots:
            assert await robot.wait_end() == (4403, "logged out")
        assert [one["current"] for one in (await ann.data("sessions"))["sessions"]] == [True]
        stranger = await here.site.wire(kind)
        for secret in secrets:
            assert (await refusal(stranger, user="ann", token=secret))[0] == "bad_credentials"
        await stranger.data("login", user="bob", token=others[0])


async def test_a_program_that_changes_the_password_keeps_its_own_token() -> None:
    async with place() as here:
        ann, robot = await here.account("ann"), await here.site.wire()
        made = [await ann.data("create_token", label=f"program {n}") for n in range(2)]
        await robot.data("login", user="ann", token=made[0]["token"])
        await robot.data("change_password", password=PASSWORD, new_password="another password", revoke_tokens=True)
        assert [one["id"] for one in (await robot.data("sessions"))["sessions"]] == [made[0]["id"]]
        assert (await ann.wait_end())[0] == 4403


async def test_a_programs_token_has_its_own_role_and_term(kind: str) -> None:
    clock, config = timed()
    async with place(config=config) as here:
        root = await here.account("root", kind, role="admin")
        made = await root.data("create_token", label="greeter", role="bot", seconds=60)
        robots = [await here.site.wire(kind) for _ in range(2)]
        for robot in robots:
            reply = await robot.data("login", user="root", token=made["token"])
            assert (reply["user"], reply["role"], reply["token"]) == ("root", "bot", made["token"])
        for action, data in (
            ("ban", {"user": "x"}),
            ("audit", {}),
            ("create_token", {"label": "x", "role": "admin"}),
            ("logout", {}),
        ):
            assert await robots[0].code(action, **data) == "forbidden"
        # Whoever got hold of one makes no other that outlives it, and does not log its owner out.
        assert await robots[0].code("create_token", label="spare", role="bot") == "forbidden"
        assert await robots[0].code("revoke") == "forbidden"
        await robots[0].data("send_message", room="general", text="beep")
        clock.now += MINUTE
        for action, data in (("send_message", {"room": "general", "text": "beep"}), ("list_rooms", {})):
            assert await robots[1].code(action, **data) == "not_logged_in"
        assert (await refusal(await here.site.wire(kind), user="root", token=made["token"]))[0] == "bad_credentials"
        made = await root.data("create_token", label="other", role="bot")
        robot = await here.site.wire(kind)
        await robot.data("login", user="root", token=made["token"])
        await root.data("revoke", session=made["id"])
        assert (await robot.wait_end())[0] == 4403
        made = await root.data("create_token", label="third")
        robot = await here.site.wire(kind)
        await robot.data("login", user="root", token=made["token"])
        await robot.send("revoke", session=made["id"])
        assert (await robot.wait_end())[0] == 4403


async def test_a_guest_has_no_devices_and_no_password() -> None:
    async with place() as here:
        gus = await here.site.user("gus")
        for action, data in (
            ("sessions", {}),
            ("revoke", {}),
            ("logout", {}),
            ("create_token", {"label": "x"}),
            ("change_password", {"password": "x", "new_password": "x" * 9}),
        ):
            assert await gus.code(action, **data) == "forbidden"


async def test_nobody_writes_under_the_name_of_another_guest_by_a_token_of_their_own_making() -> None:
    async with place() as here:
        gus = await here.site.user("gus")
        seq = (await gus.data("send_message", room="general", text="mine", op="1"))["seq"]
        author = gus.token.partition(".")[2]
        eve = await here.site.user("eve", token=f"{'0' * 48}.{author}")
        assert await eve.code("delete_message", room="general", seq=seq) == "forbidden"
        assert not (await eve.data("send_message", room="general", text="mine", op="1"))["duplicate"]
        # One that was made here goes on under its first name.
        await gus.data("rename", user="august")
        again = await here.site.user("august", token=gus.token)
        assert (await again.data("send_message", room="general", text="mine", op="1"))["duplicate"]


# ── another system's word ────────────────────────────────────────────────────────────────────────────────────────────


class Directory:
    """Another system that vouches for people."""

    def __init__(self) -> None:
        self.people: dict[str, Identity] = {}
        self.asked: list[tuple[str, str | None]] = []

    async def __call__(self, login: Login, address: str | None) -> Identity | None:
        self.asked.append((login.user, address))
        if login.token == "broken":
            raise ValueError("the directory is on fire")
        if login.token == "refused":
            raise RequestFailed("forbidden", "not on a Sunday")
        return self.people.get(login.token or "")


async def test_another_system_vouches_refuses_or_leaves_it_to_the_server() -> None:
    directory = Directory()
    async with place(authenticator=directory) as here:
        directory.people["a"] = Identity(id="7", name="Ann")
        ann = await here.site.wire()
        reply = await ann.data("login", user="whatever", token="a")
        assert (reply["user"], reply["role"]) == ("Ann", "member")
        assert directory.asked[-1] == ("whatever", "127.0.0.1")
        # It falls through to the usual ways, and its own failures let nobody in.
        assert (await (await here.site.wire()).data("login", user="gus"))["role"] == "guest"
        assert (await here.account("bob")).token
        stranger = await here.site.wire()
        assert (await refusal(stranger, user="ann", token="broken"))[0] == "internal_error"
        assert await refusal(stranger, user="ann", token="refused") == ("forbidden", "not on a Sunday")
        assert (await refusal(stranger, user="ann", password=PASSWORD))[0] == "bad_credentials"
        # A token of our own is not its business.
        asked = len(directory.asked)
        await (await here.site.wire()).data("login", user="ann", token=reply["token"])
        assert len(directory.asked) == asked


async def test_what_another_system_says_anew_counts_from_the_next_login() -> None:
    directory = Directory()
    async with place(authenticator=directory) as here:
        directory.people["a"] = Identity(id="7", name="ann", role="admin")
        first = await here.site.wire()
        assert (await first.data("login", user="ann", token="a"))["role"] == "admin"
        await first.data("audit")
        directory.people["a"] = Identity(id="7", name="anna", role="member")
        second = await here.site.wire()
        reply = await second.data("login", user="ann", token="a")
        assert (reply["user"], reply["role"]) == ("anna", "member")
        assert await first.code("audit") == "forbidden"
        directory.people["b"] = Identity(id="8", name="anna")
        assert (await refusal(await here.site.wire(), user="x", token="b"))[0] == "name_taken"
        directory.people["b"] = Identity(id="8", name="root", role="emperor")
        assert (await refusal(await here.site.wire(), user="x", token="b"))[0] == "forbidden"


async def test_who_is_vouched_for_until_a_time_has_to_come_again_then(
    autojump_clock: trio.testing.MockClock,
) -> None:
    directory, clock = Directory(), Clock()
    start = clock.now
    config = ServerConfig(rate_limits=False, now_ms=lambda: start + int(trio.current_time() * 1000))
    begun = trio.current_time()
    start -= int(begun * 1000)
    async with place(config=config, authenticator=directory, listen=("memory://",)) as here:
        directory.people["a"] = Identity(id="7", name="ann", expires_at=clock.now + 5 * MINUTE)
        ann = await here.site.wire("memory")
        token = (await ann.data("login", user="ann", token="a"))["token"]
        await trio.sleep(299)
        await ann.sync()
        await trio.sleep(2)
        assert (await ann.wait_end())[0] == 4403
        assert (await refusal(await here.site.wire("memory"), user="ann", token=token))[0] == "bad_credentials"


async def banned_everywhere(here: Place) -> None:
    await here.put(Ban(id="b1", kind="name", value="ann", by="#operator"))


async def test_a_name_that_is_banned_keeps_out_whoever_another_system_calls_so() -> None:
    directory = Directory()
    async with place(authenticator=directory) as here:
        await banned_everywhere(here)
        directory.people["a"] = Identity(id="7", name="ann")
        assert (await refusal(await here.site.wire(), user="ann", token="a"))[0] == "banned"
