"""One episode of a written verifiers package, both sides played from the gold actions by a server
that speaks the OpenAI chat API: `python verifiers_episode.py DOMAIN TASK` prints the rewards.
Run by an interpreter that has verifiers, synthlab and the package.
"""

import asyncio
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from synthlab.export.packages import domain_task

DOMAIN, TASK = sys.argv[1:]
task = domain_task(DOMAIN, TASK)
GOLD = {"assistant": [], "user": []}
for a in task.gold:
    GOLD[a.get("requestor", "assistant")].append(a)
FACTS = " ".join((task.checks or {}).get("communicate_info") or [])


def reply(body):
    "The next turn of a side: its gold actions one by one, then words"
    side, ms = body["model"], body["messages"]
    made = sum(m["role"] == "tool" for m in ms)
    spoken = any(m["role"] == "assistant" and not m.get("tool_calls") for m in ms)
    if side == "user" and not spoken:
        return dict(content="Hello, I need help.")
    if made < len(GOLD[side]):
        a = GOLD[side][made]
        function = dict(name=a["name"], arguments=json.dumps(a["arguments"]))
        call = dict(id=f"{side}{made}", type="function", index=0, function=function)
        return dict(content=None, tool_calls=[call])
    return dict(content="Thanks! ###STOP###" if side == "user" else f"It is done. {FACTS}")


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        message = dict(reply(body), role="assistant")
        ends = "tool_calls" if message.get("tool_calls") else "stop"
        usage = dict(prompt_tokens=1, completion_tokens=1, total_tokens=2)
        about = dict(id="x", created=0, model=body["model"])
        if body.get("stream"):
            said = dict(index=0, delta=message, finish_reason=None)
            last = dict(index=0, delta={}, finish_reason=ends)
            rows = [dict(choices=[said]), dict(choices=[last]), dict(choices=[], usage=usage)]
            rows = [about | dict(object="chat.completion.chunk") | r for r in rows]
            text = "".join(f"data: {json.dumps(r)}\n\n" for r in rows) + "data: [DONE]\n\n"
            return self.send(text, "text/event-stream")
        whole = dict(index=0, message=message, finish_reason=ends)
        row = about | dict(object="chat.completion", choices=[whole], usage=usage)
        self.send(json.dumps(row), "application/json")

    def send(self, text, kind):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())


async def play(url):
    from verifiers.v1.clients import EvalClientConfig, ModelContext
    from verifiers.v1.env import RunSlot
    from verifiers.v1.types import SamplingConfig
    from verifiers.v1.utils.loaders import load_environment, resolve_env_config

    here = dict(runtime=dict(type="subprocess"), harness=dict(id="null"))
    name = "tau2-" + DOMAIN
    config = dict(taskset=dict(id=name), assistant=here, user=dict(here, model="user"))
    env = load_environment(resolve_env_config(config))
    row = next(t for t in env.taskset if t.data.task_id == TASK)
    client = EvalClientConfig(base_url=url, api_key_var="SCRIPTED_KEY")
    context = ModelContext(client=client, model="assistant", sampling=SamplingConfig())
    async with env.serving():
        return await env.run_slot(RunSlot(task=row), context, None, None)


def main():
    os.environ["SCRIPTED_KEY"] = "none"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    episode = asyncio.run(play(f"http://127.0.0.1:{server.server_port}/v1"))
    (trace,) = [t for t in episode.traces if t.agent.name == "assistant"]
    errors = [e.message for t in episode.traces for e in t.errors]
    errors += [e.message for e in episode.errors]
    rewards = {k: r and r.score for k, r in trace.rewards.items()}
    print(json.dumps(dict(rewards=rewards, errors=errors)))


if __name__ == "__main__":
    main()
