"""A real HTTP server on loopback that speaks enough of the OpenAI chat API, misbehaves on request,
and counts.

It has its own process, so that it shares no interpreter with the client it judges: `with
FakeServer(latency=.01, faults=.2) as s: s.url, s.stats()`. Faults are drawn from (seed, request,
attempt): the same run misbehaves the same way. Raw asyncio, because a server library would not let
us cut a connection in the middle of a body or send one response twice.
"""

import argparse
import asyncio
import collections
import hashlib
import json
import subprocess
import sys
import urllib.request

KINDS = ["429", "500", "slow", "cut", "cut_body", "truncated", "twice", "late", "two_choices"]
ANSWERED = {
    "",
    "twice",
    "late",
    "two_choices",
}  # late: the second copy comes a moment after the first
CONFIG = dict(
    latency=0.005,
    stragglers=0.0,
    factor=20.0,
    faults=0.0,
    kinds=KINDS,
    retry_after="0.05",
    slow=2.0,
    capacity=0,
    seed=0,
    key="",
    poison="",
    poison_status=400,
)


def draw(*what):
    "A number in [0, 1) that depends on `what` alone"
    return (
        int.from_bytes(hashlib.blake2b(repr(what).encode(), digest_size=6).digest(), "big") / 2**48
    )


class Server:
    """Counts by request content: `asked` (arrived), `done` (answered while the client was there),
    `failed` (a fault

    was served), `gone` (the client was), `open`. `service` is the seconds of all answers, `most`
    were inside at once, `early` came back before their Retry-After.
    """

    def __init__(self, **config):
        self.config = {**CONFIG, **config}
        self.reset()

    def reset(self):
        self.asked, self.done, self.failed, self.gone = (collections.Counter() for _ in range(4))
        self.faults, self.open, self.wait_until = collections.Counter(), collections.Counter(), {}
        self.most, self.service, self.early = 0, 0.0, 0

    def stats(self):
        names = ["asked", "done", "failed", "gone", "faults", "most", "service", "early"]
        return dict({k: getattr(self, k) for k in names}, open=+self.open)

    async def serve(self, reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode("latin1").split("\r\n")
                path = first.split(" ")[1]
                headers = {k.lower(): v for k, _, v in (l.partition(": ") for l in lines) if k}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if not await self.route(path, headers, body, reader, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def route(self, path, headers, body, reader, writer):
        "Whether the connection stays open"
        if path == "/stats":
            return await send(writer, self.stats())
        if path == "/reset":
            self.reset()
            return await send(writer, {})
        if path == "/set":
            self.config.update(json.loads(body))
            return await send(writer, self.config)
        given = headers.get("authorization")
        if self.config["key"] and given != f"Bearer {self.config['key']}":
            return await send(
                writer, problem(f"Incorrect API key provided: {given}", "invalid_api_key"), 401
            )
        return await self.chat(json.loads(body), reader, writer)

    async def chat(self, body, reader, writer):
        tag = f"{body['messages'][-1]['content']}#{body.get('seed')}"
        self.asked[tag] += 1
        self.open[tag] += 1
        inside = sum(self.open.values())
        self.most = max(self.most, inside)
        try:
            return await self.answer(tag, body, inside, reader, writer)
        finally:
            self.open[tag] -= 1

    def fault(self, tag, inside):
        c, now = self.config, asyncio.get_running_loop().time()
        if now < self.wait_until.get(tag, 0):
            self.early += 1
        if c["capacity"] and inside > c["capacity"]:
            return "429"
        if draw("fault", c["seed"], tag, self.asked[tag]) >= c["faults"]:
            return ""
        return c["kinds"][int(draw("kind", c["seed"], tag, self.asked[tag]) * len(c["kinds"]))]

    async def answer(self, tag, body, inside, reader, writer):
        c, fault = self.config, self.fault(tag, inside)
        if fault:
            self.faults[fault] += 1
        if fault not in ANSWERED:
            self.failed[tag] += 1
        if c["poison"] and c["poison"] in tag:
            return await send(
                writer,
                problem("this request can not be answered", "bad_request"),
                c["poison_status"],
            )
        if fault == "429":
            self.wait_until[tag] = asyncio.get_running_loop().time() + float(c["retry_after"] or 0)
            more = {"retry-after": c["retry_after"]} if c["retry_after"] else {}
            return await send(writer, problem("slow down", "rate_limit"), 429, more)
        seconds = c["latency"] * (
            c["factor"] if draw("straggler", c["seed"], tag) < c["stragglers"] else 1
        )
        self.service += seconds
        await asyncio.sleep(c["slow"] if fault == "slow" else seconds)
        if reader.at_eof():
            self.gone[tag] += 1
        if reader.at_eof() or fault == "cut":
            return False
        if fault == "500":
            return await send(writer, problem("internal error", "server_error"), 500)
        raw = json.dumps(completion(tag, body, 2 if fault == "two_choices" else 1)).encode()
        if fault == "truncated":
            return await send(writer, raw[: len(raw) // 2])
        if fault == "cut_body":
            await send(writer, raw[: len(raw) // 2], size=len(raw))
            return False
        await send(writer, raw)
        self.done[tag] += 1
        if fault == "late":
            await asyncio.sleep(0.02)
        return await send(writer, raw) if fault in ("twice", "late") else True


def problem(text, code):
    return dict(error=dict(message=text, type=code, code=code))


def completion(tag, body, n):
    choice = dict(
        index=0, finish_reason="stop", message=dict(role="assistant", content=f"reply to {tag}")
    )
    return dict(
        id="chatcmpl-" + tag,
        object="chat.completion",
        created=0,
        model=body["model"],
        choices=[choice] * n,
        usage=dict(prompt_tokens=10, completion_tokens=5, total_tokens=15),
    )


async def send(writer, body, status=200, headers=None, size=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {
        "content-type": "application/json",
        "content-length": len(raw) if size is None else size,
        **(headers or {}),
    }
    lines = [f"HTTP/1.1 {status} X", *(f"{k}: {v}" for k, v in headers.items())]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + raw)
    await writer.drain()
    return True


class FakeServer:
    "The server in a process of its own"

    def __init__(self, **config):
        self.config = config

    def __enter__(self):
        command = [sys.executable, __file__, json.dumps(self.config)]
        self.proc = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.root = f"http://127.0.0.1:{int(self.proc.stdout.readline())}"
        self.url = self.root + "/v1"
        return self

    def __exit__(self, *_):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()

    def get(self, path, data=None):
        body = None if data is None else json.dumps(data).encode()
        with urllib.request.urlopen(self.root + path, body, timeout=30) as r:
            return json.load(r)

    def stats(self):
        return self.get("/stats")

    def reset(self):
        return self.get("/reset")

    def set(self, **config):
        return self.get("/set", config)


async def main(config):
    server = await asyncio.start_server(
        Server(**config).serve, "127.0.0.1", 0, limit=2**22, backlog=1024
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument(
        "config", nargs="?", default="{}", type=json.loads, help=f"JSON; defaults {CONFIG}"
    )
    asyncio.run(main(p.parse_args().config))
