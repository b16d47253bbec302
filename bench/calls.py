"""Durable calls against the ideal, and against a thread pool with a barrier per batch, on one server with stragglers.

The server (tests/fake_server.py, its own process) takes 0.2 s for a call and 20 times that for one in twenty. The ideal
is its total service time over the number of calls at once. The peer is how Simia's released runner works: a blocking
client in a ThreadPoolExecutor that is made anew for each batch, a batch being 12.5 times the workers (2,500 for 200
there), nothing of the next batch before the last call of this one. Its fixed sleep of one second before each call is
left out, which favours it. Both ask for the same calls. Not measured: a server that fails; the peer would lose calls.
"""
import argparse, json, sys, tempfile, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent/'tests'))
from fake_server import FakeServer  # noqa: E402
from synthlab.calls import Calls  # noqa: E402
from synthlab.llm import make_llm  # noqa: E402
from synthlab.types import Message  # noqa: E402


def timed(f):
    start, cpu = time.perf_counter(), time.process_time()
    f()
    return time.perf_counter()-start, time.process_time()-cpu


def durable(url, chats, most, journal):
    "Ours: one queue, each reply synced to the journal before its slot is given on"
    with Calls(make_llm(url+'#m'), journal, most=most) as calls:
        assert all(r.ok for r, in calls(chats))


def barrier(url, chats, most):
    "The peer: a pool for each batch, and a batch waits for its slowest call"
    import openai
    client = openai.OpenAI(base_url=url, api_key='none', max_retries=1)
    def ask(chat):
        messages = [dict(role=m.role, content=m.content) for m in chat]
        return client.chat.completions.create(model='m', seed=0, messages=messages).choices[0]
    size = int(12.5*most)
    for i in range(0, len(chats), size):
        with ThreadPoolExecutor(most) as pool: assert all(list(pool.map(ask, chats[i:i+size])))


def bench(n, most, latency, factor, stragglers):
    chats = [[Message('system', 'You are terse.'), Message('user', f'q{i}')] for i in range(n)]
    with FakeServer(latency=latency, stragglers=stragglers, factor=factor) as s, tempfile.TemporaryDirectory() as d:
        make_llm(s.url+'#m').ready()
        barrier(s.url, chats[:4], 4); s.reset()
        ours, cpu = timed(lambda: durable(s.url, chats, most, Path(d)/'calls.sqlite'))
        got = s.stats(); s.reset()
        replay, _ = timed(lambda: durable(s.url, chats, most, Path(d)/'calls.sqlite'))
        assert len(got['done']) == n and set(got['done'].values()) == {1} and not s.stats()['asked']
        peer, peer_cpu = timed(lambda: barrier(s.url, chats, most))
        assert len(s.stats()['done']) == n
    ideal = got['service']/most
    return dict(calls=n, at_once=most, latency=latency, stragglers=stragglers, factor=factor,
                ideal_s=ideal, ours_s=ours, barrier_s=peer, replay_s=replay,
                ours_over_ideal=ours/ideal, barrier_over_ideal=peer/ideal, barrier_over_ours=peer/ours,
                ours_cpu_ms_per_call=cpu/n*1e3, barrier_cpu_ms_per_call=peer_cpu/n*1e3)


if __name__ == '__main__':
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('-n', type=int, default=2400, help='calls')
    p.add_argument('--most', type=int, default=16, help='calls at once')
    p.add_argument('--latency', type=float, default=.2, help='seconds a call takes')
    p.add_argument('--factor', type=float, default=20., help='how much longer a straggler takes')
    p.add_argument('--stragglers', type=float, default=.05, help='share of stragglers')
    p.add_argument('--json', help='also write the numbers here')
    a = p.parse_args()
    r = bench(a.n, a.most, a.latency, a.factor, a.stragglers)
    head = '{calls} calls, {at_once} at once, {latency} s each, {stragglers:.0%} take {factor:g} times as long'
    print(head.format(**r))
    line = '{:<20}{:7.1f} s   {:.3f} of the ideal, {:.1f} ms CPU a call'
    print(f"{'ideal':<20}{r['ideal_s']:7.1f} s")
    print(line.format('durable calls', r['ours_s'], r['ours_over_ideal'], r['ours_cpu_ms_per_call']))
    print(line.format('pool with barriers', r['barrier_s'], r['barrier_over_ideal'], r['barrier_cpu_ms_per_call']))
    print(f"{'ratio':<20}{r['barrier_over_ours']:7.2f}     barrier over durable")
    print(f"{'again from journal':<20}{r['replay_s']:7.2f} s   nothing asked")
    if a.json: Path(a.json).write_text(json.dumps(r, indent=1))
