"""Rows about protecting an API: what each way adds to a request, the edge alone, the feed, a gateway, memory."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import uvloop

from capsvc.asgi import PrefixVerifier
from capsvc.client import Client
from tests.benchmarks import servers
from tests.benchmarks.load import put_under_load
from tests.benchmarks.material import AUDIENCE, CONTEXT, FOUR, JsonWebTokens, OurTokens, PeerTokens
from tests.benchmarks.report import AT_LEAST, AT_MOST, Bound, Line
from tests.benchmarks.rounds import Turn, interleave, microseconds_each
from tests.benchmarks.servers import Served
from tests.benchmarks.size import Size

__all__ = ["edge", "edge_memory", "feed", "gateway", "protect"]

CONNECTIONS: Final = 32
TOKENS: Final = 64
PATH: Final = CONTEXT["path"]
OK: Final = b"HTTP/1.1 200 "


def get(token: str | None) -> bytes:
    """The octets of a request of the protected path."""
    head = [f"GET {PATH} HTTP/1.1", "Host: 127.0.0.1", "X-Forwarded-For: 192.0.2.7"]
    head += [] if token is None else [f"Authorization: Bearer {token}"]
    return "\r\n".join([*head, "", ""]).encode()


def edge(directory: Path, size: Size) -> list[Line]:
    """The prefix verifier on tokens that it has seen, and on what was narrowed from a confirmed one and seen."""
    ours = OurTokens(directory)
    minted = ours.minted(FOUR, 16)
    ours.authority.close()
    peers = PeerTokens(minted, None)
    tokens = [one.token for one in minted]
    narrowed = [ours.narrowed(token) for token in tokens]
    times = max(1, size.batch // 16)

    async def decide(verifier: PrefixVerifier, bundles: Sequence[str]) -> int:
        for bundle in bundles:
            await verifier.authorize(bundle, audience=AUDIENCE, context=CONTEXT)
        return len(bundles)

    with servers.capsvc(directory) as served, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        verifier = PrefixVerifier(served.url, ours.credential, revocation_max_lag=60)
        for bundles in (tokens, tokens, narrowed, narrowed):
            runner.run(decide(verifier, bundles))

        def turn(bundles: Sequence[str]) -> Turn:
            return lambda _: microseconds_each(lambda: runner.run(decide(verifier, [*bundles] * times * 8)))

        def peer(_: int) -> float:
            return microseconds_each(lambda: sum(peers.verify_python(slice(16)) for _ in range(times)))

        found = interleave({"same": turn(tokens), "narrowed": turn(narrowed), "pymacaroons": peer}, size.rounds)
        runner.run(verifier.aclose())
    lines = []
    for name, what in (("same", "the same token again"), ("narrowed", "narrowed from a confirmed one, again")):
        ratio, theirs = found.ratio("pymacaroons", name), found.median("pymacaroons")
        bound = Bound(AT_LEAST, 50, 100)
        told = f"prefix verifier, 5 caveats, {what}: times as fast as"
        lines.append(Line("edge", told, found.median(name), "µs", "pymacaroons", theirs, ratio, bound))
    return lines


def protect(directory: Path, size: Size) -> list[Line]:
    """What each way adds to a request of one application: processor time of the application's process."""
    ours = OurTokens(directory)
    tokens = ours.mint(FOUR, TOKENS)
    ours.authority.close()
    webs = JsonWebTokens(directory, TOKENS)
    with ExitStack() as held:
        running = {"embedded": held.enter_context(servers.protected("embedded", directory))}
        held.enter_context(servers.capsvc(directory))
        for way in ("bare", "remote", "prefix", "HS256", "ES256", "introspection"):
            running[way] = held.enter_context(servers.protected(way, directory))

        def turn(way: str) -> Turn:
            texts = webs.texts.get(way, tokens)
            requests = [get(text) for text in texts] if way != "bare" else [get(None)]
            server = running[way]
            return lambda _: 1e6 / _per_second(server, requests, size)

        found = interleave({way: turn(way) for way in running}, size.http_rounds)
    bare = found.median("bare")
    added = {way: max(found.median(way) - bare, 0.01) for way in running if way != "bare"}
    peers = {"HS256": "PyJWT HS256", "ES256": "PyJWT ES256", "introspection": "authlib introspection"}
    lines = []
    for way in ("prefix", "embedded", "remote"):
        for peer, name in peers.items():
            bound = Bound(AT_MOST, 1) if (way, peer) == ("prefix", "HS256") else None
            what = f"{way} verifier, added to a request of {bare:.0f} µs: times what is added by"
            lines.append(Line("protect", what, added[way], "µs", name, added[peer], added[way] / added[peer], bound))
    return lines


def _per_second(server: Served, requests: Sequence[bytes], size: Size) -> float:
    while True:
        load = put_under_load(server, requests, connections=CONNECTIONS, seconds=size.http_seconds, expected=OK)
        if load.done and load.processor_seconds:  # some of these may need longer than the shortest turn
            return load.per_processor_second


def feed(directory: Path, size: Size) -> list[Line]:
    """From a commit's acknowledgement to the last of 1,000 followers, against one follower."""
    ours = OurTokens(directory)
    ours.authority.close()
    with servers.capsvc(directory) as served, Client(served.url, ours.credential) as client:
        followers = 1000 if size.rounds > 2 else 20
        many, one = (_heard(served, client, ours.credential, count, size.http_rounds) for count in (followers, 1))
    what = f"feed, from a revocation's request to the last of {followers:,} followers: times as long as to the only one"
    return [Line("feed", what, many * 1e3, "ms", "one follower", one * 1e3, many / one)]


def _heard(served: Served, client: Client, credential: str, followers: int, rounds: int) -> float:
    return statistics.median(uvloop.run(_round(served, client, credential, followers)) for _ in range(max(1, rounds)))


async def _round(served: Served, client: Client, credential: str, followers: int) -> float:
    """One commit, heard by all; seconds."""
    head = f"GET /v1/revocations?after=now&wait=30 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {credential}\r\n\r\n"
    minted = await asyncio.to_thread(client.mint, audience=AUDIENCE, ttl=600)
    cursors = [await _follow(served, head) for _ in range(followers)]
    waiting = []
    for (reader, writer), cursor in cursors:
        writer.write(head.replace("after=now", f"after={cursor}").encode())
        waiting.append(asyncio.create_task(reader.readuntil(b"}")))
    await asyncio.sleep(0.2)
    since = time.perf_counter()
    await asyncio.to_thread(client.revoke, id=minted.id)
    await asyncio.gather(*waiting)
    took = time.perf_counter() - since
    for (_, writer), _cursor in cursors:
        writer.close()
    return took


async def _follow(served: Served, head: str) -> tuple[tuple[asyncio.StreamReader, asyncio.StreamWriter], str]:
    """A connection, and the cursor that the feed is at."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(head.replace("&wait=30", "").encode())
    answer = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in answer.lower().split(b"\r\n") if b"content-length" in line)
    return (reader, writer), str(json.loads(await reader.readexactly(length))["cursor"])


def gateway(directory: Path, size: Size) -> list[Line]:
    """A static page behind nginx, with and without asking ``/v1/forward-auth``; nothing where nginx is missing."""
    if shutil.which("nginx") is None:
        return []
    config = directory / "capsvc.toml"
    config.write_text(
        f'trusted_proxies = ["127.0.0.1"]\nforward_auth_audience = "{AUDIENCE}"\n[forward_auth_actions]\nGET = "read"\n'
    )
    ours = OurTokens(directory)
    tokens = ours.mint(FOUR[:3], TOKENS)
    ours.authority.close()
    with servers.capsvc(directory) as authority, _nginx(directory, authority.port) as nginx:

        def turn(prefix: str, server: Served, which: Sequence[str]) -> Turn:
            requests = [get(token).replace(b"GET ", f"GET {prefix}".encode(), 1) for token in which]
            return lambda _: (
                put_under_load(
                    server, requests, connections=CONNECTIONS, seconds=size.http_seconds, expected=OK
                ).per_second
            )

        found = interleave({"asked": turn("", nginx, tokens), "alone": turn("/alone", nginx, tokens)}, size.http_rounds)
    what = "nginx with forward-auth, a page: times the rate of"
    asked, lone = found.median("asked"), found.median("alone")
    return [Line("gateway", what, asked, "/s", "nginx alone", lone, found.ratio("asked", "alone"))]


@contextmanager
def _nginx(directory: Path, authority: int) -> Iterator[Served]:
    """Nginx in front of a page, which it serves twice: behind the authority, and to anybody."""
    page = directory / "site" / PATH.lstrip("/")
    page.parent.mkdir(parents=True)
    page.write_text("a page\n")
    shutil.copytree(directory / "site", directory / "open" / "alone")
    port = servers.free_port()
    (directory / "nginx.conf").write_text(
        f"""
        {"user root;" if os.geteuid() == 0 else ""}
        daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/nginx.err;
        events {{ worker_connections 512; }}
        http {{
            access_log off; client_body_temp_path {directory}/b; proxy_temp_path {directory}/p;
            fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
            upstream capsvc {{ server 127.0.0.1:{authority}; keepalive 32; }}
            server {{
                listen 127.0.0.1:{port}; keepalive_requests 10000000; large_client_header_buffers 4 64k;
                location / {{ auth_request /_capsvc; root {directory}/site; }}
                location /alone/ {{ root {directory}/open; }}
                location = /_capsvc {{
                    internal; proxy_pass http://capsvc/v1/forward-auth; proxy_http_version 1.1;
                    proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_set_header Connection "";
                    proxy_set_header X-Forwarded-Method $request_method; proxy_set_header X-Forwarded-Uri $request_uri;
                    proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Forwarded-For $remote_addr;
                }}
            }}
        }}
        """
    )
    process = subprocess.Popen(
        ["nginx", "-p", str(directory), "-c", str(directory / "nginx.conf")], stderr=subprocess.DEVNULL
    )
    try:
        servers.wait_for(port)
        yield Served(port, process.pid)
    finally:
        process.terminate()
        process.wait()


def edge_memory(directory: Path, size: Size) -> list[Line]:
    """Resident memory of service and edge after so many requests, each with another token, against before.

    Before is when what they keep, within its bounds, is full.
    """
    count = 200_000 if size.rounds > 2 else 200
    ours = OurTokens(directory)
    tokens = ours.mint(FOUR, min(count, 20_000))
    ours.authority.close()
    with servers.capsvc(directory) as served, servers.protected("prefix", directory) as protected:
        _each_once(protected, tokens)
        before = [process.resident_megabytes() for process in (served, protected)]
        for part in range(max(1, count // len(tokens))):
            _each_once(protected, [ours.narrowed(token, part) for token in tokens])
        after = [process.resident_megabytes() for process in (served, protected)]
    return [
        Line(
            "edge-memory",
            f"{name}, resident after {count:,} more tokens, each once",
            now,
            "MB",
            "before",
            then,
            now / then,
            Bound(AT_MOST, 1.1),
        )
        for name, then, now in zip(("service", "edge"), before, after, strict=True)
    ]


def _each_once(server: Served, tokens: Sequence[str]) -> None:
    uvloop.run(_send(server, [get(token) for token in tokens]))


async def _send(server: Served, requests: Sequence[bytes]) -> None:
    """Each request once, over 16 connections."""

    async def one(part: Sequence[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for request in part:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(OK), head
            length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
            await reader.readexactly(length)
        writer.close()

    await asyncio.gather(*[one(requests[start::16]) for start in range(16)])
