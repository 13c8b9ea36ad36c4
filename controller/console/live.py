"""The live stream: parts of pages by Server-Sent Events, rendered once per version and role for everybody."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

import anyio.to_thread

from controller.commands import Role

WAIT_S = 1.0
KEEP_ALIVE_S = 15.0
GONE_CHECK_S = 2.0
"""How often a quiet stream asks whether its client is still there; a send alone does not tell."""
RETRY_MS = 2_000

Render = Callable[[Role], tuple[int, Mapping[str, str]]]
"""Returns (version, regions by element id) for a role."""


class TooManyStreams(RuntimeError):
    """This client, or all of them together, have as many streams as are allowed."""


@dataclass(frozen=True, slots=True)
class _Shot:
    """What was rendered last for one role."""

    version: int
    regions: Mapping[str, str]


class Live:
    """Fans one rendering out to every open stream. Belongs to the console's event loop."""

    def __init__(
        self, changed: Callable[[int, float], int], render: Render, limits: tuple[int, int], period_s: float
    ) -> None:
        self._changed = changed
        self._render = render
        self._streams_max, self._per_client_max = limits
        self._period_s = period_s
        self._clients: Counter[str] = Counter()
        self._roles: Counter[Role] = Counter()
        self._shots: dict[Role, _Shot] = {}
        self._news = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._failed: BaseException | None = None

    @property
    def streams(self) -> int:
        """Returns how many streams are open."""
        return self._clients.total()

    def admit(self, client: str) -> None:
        """Checks the caps before a stream is begun.

        Raises:
            TooManyStreams: a cap is reached.
        """
        if self._closed or self.streams >= self._streams_max or self._clients[client] >= self._per_client_max:
            raise TooManyStreams(f"{self._clients[client]} streams of this client, {self.streams} in all")

    async def stream(self, role: Role, client: str, gone: Callable[[], Awaitable[bool]]) -> AsyncIterator[bytes]:
        """Yields events until the client leaves or the console closes; at first every region, then what changed."""
        self.admit(client)
        self._clients[client] += 1
        self._roles[role] += 1
        try:
            if self._task is None or self._task.done():
                self._shots.clear()
                self._task = asyncio.create_task(self._watch())
            yield f"retry: {RETRY_MS}\n\n".encode()
            sent: dict[str, str] = {}
            version = -1
            quiet = 0.0
            while not self._closed and not await gone():
                shot = await self._next(role, version)
                if shot is None:
                    quiet += GONE_CHECK_S
                    if quiet >= KEEP_ALIVE_S:
                        quiet = 0.0
                        yield b": still here\n\n"
                    continue
                news = {name: html for name, html in shot.regions.items() if sent.get(name) != html}
                sent.update(news)
                version = shot.version
                yield _event(version, news)
        finally:
            self._clients[client] -= 1
            self._roles[role] -= 1
            if not self._clients[client]:
                del self._clients[client]

    async def _next(self, role: Role, version: int) -> _Shot | None:
        """Returns the first rendering that is newer than `version`, None when there was none for 2 s."""

        def ready() -> bool:
            return self._closed or (role in self._shots and self._shots[role].version != version)

        try:
            async with asyncio.timeout(GONE_CHECK_S), self._news:
                await self._news.wait_for(ready)
        except TimeoutError:
            return None
        return self._shots.get(role)

    async def _watch(self) -> None:
        """Renders after each change while anybody listens, at most once per period."""
        loop = asyncio.get_running_loop()
        while self.streams and not self._closed:
            begun = loop.time()
            for role in [role for role in Role if self._roles[role]]:
                version, regions = await anyio.to_thread.run_sync(self._render, role)
                self._shots[role] = _Shot(version, regions)
            async with self._news:
                self._news.notify_all()
            seen = min((shot.version for role, shot in self._shots.items() if self._roles[role]), default=-1)
            await anyio.to_thread.run_sync(self._changed, seen, WAIT_S)
            await asyncio.sleep(max(0.0, begun + self._period_s - loop.time()))

    async def close(self) -> None:
        """Ends every stream."""
        self._closed = True
        async with self._news:
            self._news.notify_all()


def _event(version: int, regions: Mapping[str, str]) -> bytes:
    data = json.dumps(regions, separators=(",", ":"), ensure_ascii=False)
    return f"id: {version}\nevent: now\ndata: {data}\n\n".encode()
