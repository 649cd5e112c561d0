"""The far end of ``bench uplink``: ``python -m bench.uplink_cloud`` prints its port and acknowledges what is posted.

It reads of each frame only its length, and of the last its number, so that the sender is what is measured.
"""

from __future__ import annotations

import asyncio
import struct

from aiohttp import web

from edgetwin.codec.acks import Ack, encode_ack
from edgetwin.codec.frames import decode_frame


async def post(request: web.Request) -> web.Response:
    """Acknowledge the last frame of the body and all before it."""
    body = await request.read()
    at = 0
    while at + 4 + (length := struct.unpack_from("<I", body, at)[0]) < len(body):
        at += 4 + length
    frame = decode_frame(body[at + 4 :])
    return web.Response(body=encode_ack(Ack(frame.gateway, frame.epoch, frame.seq)))


async def greet(_request: web.Request) -> web.Response:
    """Nothing has been heard yet."""
    raise web.HTTPNotFound


async def main() -> None:
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/v1/gateways/{gateway}/frames", post)
    app.router.add_get("/v1/gateways/{gateway}/ack", greet)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
