"""A long trail for a home, as docs and migrations describe it: records chained by hash, columns copied out of them.

    python3 bench/trail.py HOME 1000000      appends so many events of the last seven days; the gateway must not run
"""

import datetime
import hashlib
import json
import pathlib
import random
import sqlite3
import sys
import time

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# How far back the first event lies (seconds).
SPAN = 7 * 86_400
BATCH = 10_000


def fill(home: pathlib.Path, events: int, seed: int = 1) -> None:
    """Appends `events` events: four of five calls are forwarded, the others refused, limited, held and denied, or fail."""
    database = sqlite3.connect(home / "toolgate.db")
    database.execute("PRAGMA synchronous = OFF")
    writer = database.execute("SELECT value FROM meta WHERE name = 'writer'").fetchone()[0]
    last = database.execute("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1").fetchone()
    chain = Chain(writer, *(last or (0, bytes(32))))
    chance, end = random.Random(seed), time.time()
    done, rows = 0, []
    while done < events:
        # A little later than the newest would be in the future.
        at = end - SPAN * (1 - done / events)
        new = [chain.row(event) for event in call(chance, at, done)[: events - done]]
        rows += new
        done += len(new)
        if len(rows) >= BATCH or done == events:
            database.executemany("INSERT INTO audit VALUES (?,?,?,?,?,?,?,?,?,?)", rows)
            database.commit()
            rows.clear()
    # What a gateway that had been running would have left.
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


class Chain:
    """The end of a chain, and what is put behind it."""

    def __init__(self, writer: str, seq: int, digest: bytes):
        self.writer, self.seq, self.digest = writer, seq, digest

    def row(self, event: dict) -> tuple:
        self.seq += 1
        at = event.pop("at")
        moment = datetime.datetime.fromtimestamp(at // 1_000_000, datetime.UTC)
        told = f"{moment:%Y-%m-%dT%H:%M:%S}.{at % 1_000_000:06}".rstrip("0").rstrip(".") + "Z"
        record = {"seq": self.seq, "writer": self.writer, "prev": self.digest.hex(), "at": told, **event}
        text = json.dumps(record, separators=(",", ":"))
        self.digest = hashlib.sha256(text.encode()).digest()
        names = ("call_id", "agent", "service", "action", "result")
        return (self.seq, at, event["kind"], *(event.get(name) for name in names), text, self.digest)


def call(chance: random.Random, at: float, number: int) -> list[dict]:
    """The events of one call, in the order in which a record has its members."""
    letters, rest = [], int(at * 1_000_000) // 1_000 * 32 + number % 32
    for _ in range(12):
        letters.append(ALPHABET[rest % 32])
        rest //= 32
    micros = int(at * 1_000_000)
    service = f"service-{chance.randrange(12)}"
    action = f"GET /v1/things/{chance.randrange(10_000)}"
    # Some agents call much more than others.
    agent = f"agent-{min(int(chance.paretovariate(0.6)), 200)}"
    who = {
        "call_id": "c_" + "".join(reversed(letters)), "agent": agent, "key_id": "7kq2m9xd", "role": "user",
        "service": service, "method": "GET", "action": action,
    }
    latency = round(chance.expovariate(0.05), 3)
    allow = {"gate": 20, "effect": "allow", "rule": "roles.user.allow[0]", "reason": "an allow rule matches", "risk": 0.1,
             "policy_hash": "c5" * 32}
    refused = {"at": micros, "kind": "refusal", "result": "refused", **who}
    chosen = chance.random()
    if chosen < 0.10:
        why = {"gate": 20, "effect": "deny", "rule": f"rule {chance.randrange(30)}", "reason": "a deny binds every role"}
        return [{**refused, "decision": why, "status": 403, "latency_ms": latency}]
    if chosen < 0.14:
        why = {"gate": 30, "effect": "deny", "reason": "20/1m"}
        return [{**refused, "decision": why, "status": 429, "latency_ms": latency}]
    sent = {"args": {"thing": chance.randrange(10_000), "note": "x" * 40}, "digest": "8b" * 32}
    if chosen < 0.16:
        hold = {"gate": 60, "effect": "hold", "rule": "refunds", "reason": "wants approval", "risk": 0.3, "policy_hash": "c5" * 32}
        deny = {"gate": 60, "effect": "deny", "rule": "refunds", "reason": "denied"}
        bound = {"approval_id": f"ap_{number:010}"}
        return [
            {"at": micros, "kind": "held", "result": "held", **who, "decision": hold, **sent, **bound, "status": 428},
            {"at": micros + 9_000_000, "kind": "decision", **who, "decision": deny, **bound, "operator": "ada@example.com"},
        ]
    failed = chosen < 0.19
    return [
        {"at": micros, "kind": "intent", **who, "decision": allow, **sent},
        {"at": micros + int(latency * 1_000), "kind": "outcome", "result": "upstream-error" if failed else "forwarded", **who,
         "status": 502 if failed else 200, "bytes": chance.randrange(60, 4_000), "latency_ms": latency},
    ]


if __name__ == "__main__":
    fill(pathlib.Path(sys.argv[1]), int(sys.argv[2]))
