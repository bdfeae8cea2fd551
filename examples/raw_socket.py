"""Talking to a server with nothing but a socket: one JSON object per line. No chatkit here, and no Trio."""

import json
import socket
import sys


def main(host: str = "127.0.0.1", port: str = "8766") -> None:
    with socket.create_connection((host, int(port)), timeout=10) as link, link.makefile("rw") as lines:

        def ask(action: str, **data: str) -> dict:
            """Send a request and return its reply; events that come first are printed."""
            lines.write(json.dumps({"action": action, "ref": action, "data": data}) + "\n")
            lines.flush()
            while (envelope := json.loads(lines.readline())).get("ref") != action:
                print("event:", envelope["action"])
            if envelope["action"] == "error":
                raise SystemExit(envelope["data"]["message"])
            return envelope["data"]

        print("event:", json.loads(lines.readline())["action"])
        me = ask("login", user="sam")
        print("logged in as", me["user"], "in", *(room["room"] for room in me["rooms"]))
        kept = ask("send_message", room="general", text="Typed by hand")
        print("kept as number", kept["seq"])
        for event in ask("history", room="general")["events"]:
            print(f"{event['data']['user']}: {event['data']['text']}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ConnectionRefusedError:
        sys.exit("nobody listens there")
