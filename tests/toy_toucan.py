"""A run of toucan.generate with toy models that log every call: python toy_toucan.py FOLDER LOG
SECONDS_PER_CALL SERVER...
"""

import json
import random
import sys
import time

from synthlab.core.types import ToolCall, content_key, to_dict
from synthlab.generate.toucan_questions import RATING_SCALES
from synthlab.models.chat import Backend, Reply

WORDS = [
    "amber",
    "basin",
    "cobalt",
    "dune",
    "ember",
    "fjord",
    "grove",
    "haze",
    "islet",
    "juniper",
    "kelp",
    "lagoon",
    "meadow",
    "nettle",
    "opal",
    "prairie",
    "quay",
    "ridge",
    "sable",
    "tarn",
]
WANT = {
    "tau2:mock": "get_users",
    "time": "get_current_time",
    "tau2:retail": "list_all_product_types",
}
ARGS = dict(get_current_time=dict(timezone="UTC"))


class Toy(Backend):
    "What asker, agent and judge share: a log with one line a call"

    chunk = 2

    def __init__(self, name, log="", wait=0.0):
        self.name, self.log, self.wait, self.version = name, log, wait, "1"

    def _run(self, rows, temp, maxtok, schema):
        time.sleep(self.wait)
        out = [self.say(r, schema) for r in rows]
        if self.log:
            with open(self.log, "a") as f:
                f.writelines(
                    f"{self.name} {content_key([to_dict(r.chat), r.seed], 16)}\n" for r in rows
                )
        return out


class Asker(Toy):
    def say(self, r, schema):
        rng, props = random.Random(r.seed), schema["properties"]
        tool = next(
            t for t in props["target_tools"]["items"]["enum"] if t.split("::")[1] in WANT.values()
        )

        def text():
            return " ".join(rng.sample(WORDS, 9)) + "?"

        said = dict(thought="", question=text(), target_tools=[tool])
        if "follow_up" in props:
            said |= dict(follow_up=text(), follow_up_tools=[tool])
        return Reply(json.dumps(said))


class Agent(Toy):
    """Calls the tool it likes where it is offered, once for each turn of the user; elsewhere it
    says that it cannot help
    """

    def say(self, r, schema):
        liked = next(
            (t["function"]["name"] for t in r.tools if t["function"]["name"] in WANT.values()), None
        )
        asked, done = (sum(m.role == who for m in r.chat) for who in ("user", "tool"))
        words = r.chat[1].content.split()[0]
        if liked and done < asked and words in WORDS[:18]:
            return Reply(calls=[ToolCall(liked, ARGS.get(liked, {}))])
        return Reply(
            f"That is what I know: {r.chat[-1].content[:40]}"
            if done
            else "None of these tools can do that."
        )


class Judge(Toy):
    def say(self, r, schema):
        return Reply(
            json.dumps(
                {"reason": "fine"}
                | {c: RATING_SCALES[c][1][-1] for c in schema["required"] if c in RATING_SCALES}
            )
        )


def models(log="", wait=0.0):
    return dict(
        asker=Asker("asker", log, wait),
        agent=Agent("agent", log, wait),
        judges=(Judge("judge", log, wait),),
    )


if __name__ == "__main__":
    from synthlab.generate.toucan import generate

    folder, log, wait, *servers = sys.argv[1:]
    f = generate(
        9,
        tuple(servers),
        **models(log, float(wait)),
        irrelevant=0.0,
        chunk=4,
        slots=3,
        resume=folder or None,
        seed=7,
    )
    print(
        json.dumps(dict(kept=[to_dict(t) for t in f.kept], stages=f.stages, usage=to_dict(f.usage)))
    )
