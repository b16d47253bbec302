"""Episodes of a written OpenEnv package, the agent an oracle: over a server and its client.

`python openenv_episode.py TASK…` prints reward and end of each airline task. Run by an interpreter
that has openenv-core, synthlab and the package.
"""

import json
import socket
import subprocess
import sys
import time

from tau2_airline import Call, Tau2AirlineAction, Tau2AirlineClient

from synthlab.export.packages import domain_task
from synthlab.tau2.agents import oracle_turns


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def answering(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def play(env, task):
    r = env.reset(task_id=task.id)
    assert "policy" in r.observation.instructions and r.observation.tools
    for m in oracle_turns(task):
        if not r.done:
            calls = [Call(name=c.name, arguments=c.args) for c in m.calls]
            r = env.step(Tau2AirlineAction(content=m.content, calls=calls))
    while not r.done:
        r = env.step(Tau2AirlineAction(content="Your request has been processed."))
    assert env.state().task_id == task.id
    return [r.reward, r.observation.stop]


def main():
    port = free_port()
    serve = [sys.executable, "-m", "uvicorn", "tau2_airline.server.app:app", "--port", str(port)]
    server = subprocess.Popen([*serve, "--log-level", "critical"])
    try:
        while server.poll() is None and not answering(port):
            time.sleep(0.2)
        with Tau2AirlineClient(base_url=f"http://127.0.0.1:{port}").sync() as env:
            out = [play(env, domain_task("airline", i)) for i in sys.argv[1:]]
    finally:
        server.terminate()
    print(json.dumps(out))


if __name__ == "__main__":
    main()
