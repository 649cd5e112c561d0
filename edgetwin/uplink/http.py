"""Frames to the cloud over HTTPS.

``POST {url}/v1/gateways/{gateway}/frames`` carries some frames in the container format of
:mod:`edgetwin.codec.container`; the answer is the receiver's acknowledgement, after its commit. ``GET …/ack`` at
the start of each connection tells how far the receiver is, and brings no frame to whoever else may be there.

The live lane and the backlog lane each have one request on its way, so a long one of the backlog does not hold up what
is new. Anything but an acknowledgement is a fault of the link: a captive portal's page frees nothing. A body that the
cloud refuses for good (400, 413, 422) is halved until the frame is found. That frame is given up only once the cloud
has taken another one: a cloud that refuses everything must not empty the outbox.
"""

from __future__ import annotations

import asyncio
import io
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import structlog
from aiohttp import hdrs

from edgetwin.clock import NS, Clock
from edgetwin.codec.acks import ACK_BYTES_MAX
from edgetwin.codec.container import append_frame
from edgetwin.config.credentials import token_of
from edgetwin.config.schema import HttpsUplink as HttpsConfig
from edgetwin.config.urls import HTTPS_SCHEMES, endpoint
from edgetwin.errors import FrameError
from edgetwin.sources.backoff import Backoff
from edgetwin.sources.tls import tls_context
from edgetwin.uplink.answers import Ignored
from edgetwin.uplink.courier import Courier
from edgetwin.uplink.faults import FAULTS, Reason, UplinkFaultError
from edgetwin.uplink.http_faults import detail_of, fault_of_client, fault_of_status
from edgetwin.uplink.port import Outbox
from edgetwin.uplink.proxy import Proxy, proxy_of
from edgetwin.uplink.queued import Queued
from edgetwin.uplink.schedule import Lane, Window

log = structlog.get_logger()

FRAMES_TYPE = "application/vnd.edgetwin.frames"
ACK_TYPE = "application/vnd.edgetwin.ack"

WINDOW = Window(frames=256, bytes=1_048_576)
"""One request; a larger frame goes alone."""

REFUSALS = frozenset({400, 413, 422})
"""Status codes that speak of the body, and so of a frame."""

SUSPECTS_MAX = 16
"""Frames refused without one being taken: with so many the cloud is at fault, not they."""

QUIET_S = 5.0
"""An answer speaks of what was stored when it was written, so what it lacks is lost: it goes again soon."""

_CONNECT_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """As much of a body as an acknowledgement may have."""

    status: int
    body: bytes
    retry_after: str | None

    @property
    def refusal(self) -> str:
        """What to say of a frame that it refuses."""
        return f"status {self.status}: {detail_of(self.body) or 'no reason given'}"


class HttpsUplink(Courier):
    """One receiver. An :class:`edgetwin.uplink.port.Uplink`."""

    def __init__(
        self,
        config: HttpsConfig,
        gateway: str,
        outbox: Outbox,
        *,
        base: Path = Path(),
        backoff: Backoff | None = None,
        clock: Clock | None = None,
        dead_letters: Path | None = None,
    ) -> None:
        """``base`` is where relative files of ``config`` are."""
        place = endpoint(config.url, HTTPS_SCHEMES)
        self._config = config
        self._tls = place.tls
        self._gateway = gateway
        self._url = f"{place.scheme}://{place.address}{place.path}/v1/gateways/{gateway}"
        self._base = base
        self._proxy: Proxy | None = None
        self._suspects: dict[int, str] = {}
        super().__init__(
            outbox,
            place.address,
            bandwidth=config.bandwidth,
            ack_wait_s=config.ack_timeout,
            quiet_s=QUIET_S,
            backoff=backoff,
            clock=clock,
            dead_letters=dead_letters,
        )

    async def _serve(self) -> None:
        self._proxy = proxy_of(self._config.proxy)
        async with self._client() as client:
            await self._greet(client)
            self._connected()
            try:
                async with asyncio.TaskGroup() as lanes:
                    for lane in Lane:
                        lanes.create_task(self._run_lane(client, lane), name=f"uplink:{lane.value}")
            except BaseExceptionGroup as group:
                raise _first_fault(group) from group

    def _client(self) -> aiohttp.ClientSession:
        """Made anew for each connection, so that changed files take effect. ConfigError when one cannot be read."""
        token = token_of(self._config, self._base)
        context = tls_context(self._config.tls, self._base) if self._tls else True
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=len(Lane), ssl=context),
            timeout=aiohttp.ClientTimeout(total=self._config.timeout, sock_connect=_CONNECT_TIMEOUT_S),
            headers={} if token is None else {hdrs.AUTHORIZATION: f"Bearer {token}"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def _greet(self, client: aiohttp.ClientSession) -> None:
        """Ask how far the cloud is. One that has never heard of us answers 404."""
        answer = await self._request(client, hdrs.METH_GET, "ack")
        if answer.status == 200:
            self._believe(answer.body)
        elif answer.status != 404:
            raise self._fault(answer)

    # ---- a lane

    async def _run_lane(self, client: aiohttp.ClientSession, lane: Lane) -> None:
        while True:
            self._outbox.changed.clear()
            self._tick()
            batch = self._batch(lane)
            if batch:
                await self._deliver(client, batch)
                self._outbox.changed.set()  # the other lane may go on, too
            else:
                await self._until_changed()

    def _batch(self, lane: Lane) -> list[Queued]:
        batch = []
        while (queued := self._take(lane, WINDOW)) is not None:
            batch.append(queued)
        return batch

    async def _deliver(self, client: aiohttp.ClientSession, batch: list[Queued]) -> None:
        """Send, and see to what comes of it; halves of a batch that is refused by themselves."""
        body = io.BytesIO()
        for queued in batch:
            append_frame(body, queued.data)
        answer = await self._request(client, hdrs.METH_POST, "frames", body.getvalue())
        if answer.status in REFUSALS:
            await self._divide(client, batch, answer)
            return
        if answer.status != 200:
            raise self._fault(answer)
        self._believe(answer.body)
        for queued in batch:
            self.schedule.delivered(queued.position)
        self._condemn_suspects()

    async def _divide(self, client: aiohttp.ClientSession, batch: list[Queued], answer: _Answer) -> None:
        if len(batch) == 1:
            self._suspect(batch[0], answer)
            return
        half = len(batch) // 2
        await self._deliver(client, batch[:half])
        await self._deliver(client, batch[half:])

    # ---- frames that are refused

    def _suspect(self, queued: Queued, answer: _Answer) -> None:
        self.schedule.park(queued.position)
        self._failed += 1
        self._suspects[queued.position] = answer.refusal
        if len(self._suspects) < SUSPECTS_MAX:
            return
        for position in self._suspects:
            self.schedule.again(position)
        self._suspects.clear()
        message = f"the cloud refuses every frame ({answer.refusal})"
        raise UplinkFaultError(Reason.REFUSED, message, hint="update the receiver, or check url")

    def _condemn_suspects(self) -> None:
        """The cloud takes frames: what it refused is poison."""
        for position, detail in self._suspects.items():
            queued = self._outbox.read(position)
            if queued is not None and queued.position == position:
                self._condemn(queued, "refused_by_the_cloud", detail)
        self._suspects.clear()

    # ---- requests

    async def _request(self, client: aiohttp.ClientSession, method: str, what: str, body: bytes = b"") -> _Answer:
        """One exchange; UplinkFaultError when there is no answer."""
        headers = {hdrs.CONTENT_TYPE: FRAMES_TYPE} if body else {}
        try:
            async with client.request(
                method,
                f"{self._url}/{what}",
                data=body or None,
                headers=headers,
                allow_redirects=False,
                proxy=None if self._proxy is None else f"http://{self._proxy.address}",
                proxy_headers=_proxy_headers(self._proxy),
            ) as response:
                return _Answer(response.status, await _read(response), response.headers.get(hdrs.RETRY_AFTER))
        except TimeoutError as exc:
            reason = Reason.LOST if self.up else Reason.UNREACHABLE
            raise UplinkFaultError(reason, f"no answer within {self._config.timeout:g} s") from exc
        except aiohttp.ClientError as exc:
            raise fault_of_client(exc, connected=self.up, tls=self._tls) from exc

    def _fault(self, answer: _Answer) -> UplinkFaultError:
        now_s = self._clock.wall_ns() / NS
        return fault_of_status(answer.status, detail_of(answer.body), answer.retry_after, now_s)

    def _believe(self, body: bytes) -> None:
        """Take an acknowledgement; UplinkFaultError when it is none of ours, as then somebody else answers."""
        hint = "a captive portal or a proxy answers in the cloud's place, or url leads elsewhere; nothing is deleted"
        try:
            verdict = self._answer(body)
        except FrameError as exc:
            raise UplinkFaultError(
                Reason.NOT_THE_CLOUD, f"the answer is no acknowledgement ({exc})", hint=hint
            ) from exc
        if verdict.ignored is Ignored.OTHER_GATEWAY:
            raise UplinkFaultError(Reason.NOT_THE_CLOUD, "the acknowledgement is for another gateway", hint=hint)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The body, of no more than an acknowledgement's bytes; the rest is not read."""
    body = b""
    while len(body) <= ACK_BYTES_MAX and (chunk := await response.content.read(ACK_BYTES_MAX + 1 - len(body))):
        body += chunk
    return body


def _proxy_headers(proxy: Proxy | None) -> dict[str, str] | None:
    if proxy is None or proxy.authorization is None:
        return None
    return {hdrs.PROXY_AUTHORIZATION: proxy.authorization}


def _first_fault(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The fault that ended the lanes; the whole group when there is anything else in it."""
    faults, rest = group.split(FAULTS)
    if rest is not None or faults is None:
        return group
    return faults.exceptions[0]
