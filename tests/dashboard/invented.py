"""A history of the server, made up but always the same."""

from __future__ import annotations

import json
import random

HOSTILE = "<img src=x onerror=document.title='hacked'>"
CAUSES = ["script"] * 7 + ["function"] * 3


def episodes(many: int, until_ms: int) -> list[dict]:
    """So many, the last of which is over at that moment; they come in bunches, as those of real life do."""
    dice = random.Random(many)
    scripts = [f"{dice.getrandbits(160):040x}" for _ in range(5)]
    found, end = [], until_ms - 40_000
    for number in range(many, 0, -1):
        lasted = int(min(dice.lognormvariate(6.5, 1.6), 240_000)) + 3
        begin = end - lasted
        cause = dice.choice(CAUSES)
        known = dice.random() < 0.85
        name = dice.choice(scripts) if cause == "script" else dice.choice(["rebuild_index", "expire_carts"])
        connections = int(dice.lognormvariate(2, 1))
        found.append({
            "number": number, "began_ms": begin, "lasted_ms": lasted, "cause": cause,
            "script": name if known else None,
            "client": f"10.0.{dice.randrange(4)}.{dice.randrange(250)}:{dice.randrange(1024, 65535)}" if known else None,
            "client_name": "worker-3" if known and number % 5 == 0 else None, "user": None,
            "connections": connections, "commands": connections + int(dice.lognormvariate(1, 1)),
            "given_up": dice.choice([1, 3]) if lasted > 20_000 else 0, "rejected": lasted // 9 + 1,
        })  # fmt: skip
        end = begin - int(dice.expovariate(1 / 20_000) if dice.random() < 0.7 else dice.expovariate(1 / 400_000)) - 50
    return found[::-1]


def invent(page, many: int, change=lambda state: None) -> None:
    """The page is told of so many episodes by the proxy, whose own account of itself it gets but for that."""

    def answer(route) -> None:
        state = route.fetch().json()
        state["episodes"] = episodes(many, state["now_ms"])
        change(state)
        route.fulfill(body=json.dumps(state), content_type="application/json")

    page.route("**/api/state", answer)
