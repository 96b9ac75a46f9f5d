"""
Another library in the lab's matrix: one side of a pair that connects with aioice.

Run `python examples/aioice_pair.py ROLE SESSION SIGNAL STUN` for both roles, alice and bob. SIGNAL
is the HOST:PORT of `python -m holepunch.lab.matrixmeeting HOST PORT`, which joins the two that name
the same SESSION; STUN is the HOST:PORT of a STUN server. The matrix does all that by itself:

    holepunch lab matrix --kernel --grid iroh --program \\
        "aioice=python examples/aioice_pair.py {role} {session} {signal} {service}:3478"

Needs aioice (`pip install aioice`).
"""

import asyncio
import json
import sys
import time
from typing import Any

import aioice

PATIENCE = 8.0


async def swap(session: str, signal: str, ours: object) -> Any:
    """
    Tell the other side what it needs, and hear the same from it.
    """
    host, _, port = signal.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{session}\n{json.dumps(ours)}\n".encode())
    return json.loads(await reader.readline())


async def main(role: str, session: str, signal: str, stun: str) -> None:
    host, _, port = stun.rpartition(":")
    connection = aioice.Connection(
        ice_controlling=role == "alice", stun_server=(host, int(port)), use_ipv6=False
    )
    await connection.gather_candidates()
    ours = {
        "user": connection.local_username,
        "password": connection.local_password,
        "candidates": [each.to_sdp() for each in connection.local_candidates],
    }
    theirs = await swap(session, signal, ours)
    startedAt = time.monotonic()
    connection.remote_username = theirs["user"]
    connection.remote_password = theirs["password"]
    for text in theirs["candidates"]:
        await connection.add_remote_candidate(aioice.Candidate.from_sdp(text))
    await connection.add_remote_candidate(None)
    await connection.connect()
    seconds = time.monotonic() - startedAt
    await connection.send(role.encode())
    heard = (await connection.recv()).decode()
    # What we sent last may still be on its way.
    await asyncio.sleep(0.5)
    await connection.close()
    print(json.dumps({"heard": heard, "seconds": seconds}))


if __name__ == "__main__":
    try:
        asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), PATIENCE))
    except (ConnectionError, asyncio.TimeoutError) as error:
        sys.exit(f"no path: {error or 'in time'}")
