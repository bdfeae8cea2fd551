"""Actions of one's own: a game of guessing a number, played in a room by everybody in it."""

from typing import Annotated

import trio
from attrs import evolve, frozen

import chatkit
from chatkit.protocol import Between, Event, Request, SendMessage

SECRET = 42
game = chatkit.Extension()


@frozen(kw_only=True)
class Judged:
    verdict: str


@frozen(kw_only=True)
class Guess(Request[Judged]):
    action = "game.guess"
    room: str
    number: Annotated[int, Between(1, 100)]


@game.event
@frozen(kw_only=True)
class Guessed(Event):
    action = "game.guessed"
    room: str
    seq: int  # makes it an entry of the room's history
    user: str
    number: int


@game.action(Guess)
async def guess(context: chatkit.RequestContext, request: Guess) -> Judged:
    await context.publish(Guessed(room=request.room, seq=0, user=context.name, number=request.number))
    return Judged(verdict="higher" if request.number < SECRET else "lower" if request.number > SECRET else "right!")


@game.before(SendMessage)
async def keep_the_secret(context: chatkit.RequestContext, request: SendMessage) -> SendMessage:
    return evolve(request, text=request.text.replace(str(SECRET), "··")) if request.text else request


async def main() -> None:
    async with (
        chatkit.open_server("memory://", listen=(), extensions=[game]) as server,
        server.connect(user="ann", events=[Guessed]) as ann,
    ):
        print(*[(await ann.request(Guess(room="general", number=number))).verdict for number in (50, 42)])
        await ann.rooms["general"].send("It was 42!")
        print(*(entry.event for entry in (await ann.rooms["general"].history()).events), sep="\n")


if __name__ == "__main__":
    trio.run(main)
