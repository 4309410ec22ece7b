"""Bodies that mean harm: each is a name, what is sent, headers, and whether it may be accepted."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from service_requests import SMALL, chain_text, changed

JSON = {"Content-Type": "application/json"}
SCRIPT = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>"


class Hostile(NamedTuple):
    """A body, and whether it may be accepted because it is harmless after all."""

    name: str
    body: bytes
    headers: dict[str, str]
    harmless: bool = False


def _json(name: str, body: Any, *, harmless: bool = False) -> Hostile:
    return Hostile(name, json.dumps(body).encode(), JSON, harmless)


def _raw(name: str, text: str) -> Hostile:
    """The small request with its search replaced by a text that need not be JSON."""
    whole = json.dumps({**SMALL, "search": "HERE"})
    return Hostile(name, whole.replace('"HERE"', text).encode(), JSON)


def hostile_bodies() -> list[Hostile]:
    """All of them."""
    return [*_syntax(), *_numbers(), *_sizes(), *_names(), *_structure(), *_compressed()]


def _syntax() -> Iterator[Hostile]:
    yield Hostile("nothing", b"", JSON)
    yield Hostile("not JSON", b"}{", JSON)
    yield Hostile("cut off", json.dumps(SMALL).encode()[:-20], JSON)
    yield Hostile("bytes that are no text", b"\xff\xfe\x00{}", JSON)
    yield Hostile("only null", b"null", JSON)
    yield Hostile("a list", b"[]", JSON)
    yield Hostile("deep lists", b"[" * 100_000, JSON)
    yield Hostile("deep objects", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, JSON)
    yield _raw("deep in a field", "[" * 5000 + "]" * 5000)
    yield _raw("lone surrogate", '{"solver": "\\ud800"}')
    yield _raw("a key twice with junk", '{"gap": 0, "gap": {}}')
    yield Hostile("plain text", json.dumps(SMALL).encode(), {"Content-Type": "text/plain"})
    yield Hostile("a form", b"problem=1", {"Content-Type": "application/x-www-form-urlencoded"})
    yield Hostile("XML", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", {"Content-Type": "text/xml"})


def _numbers() -> Iterator[Hostile]:
    yield _raw("NaN", '{"gap": NaN}')
    yield _raw("infinity", '{"time_limit_s": Infinity}')
    yield _raw("number beyond floats", '{"time_limit_s": 1e999}')
    yield _raw("number of 100,000 digits", '{"seed": ' + "9" * 100_000 + "}")
    yield _raw("negative time", '{"time_limit_s": -1}')
    yield _raw("huge seed", '{"seed": 18446744073709551616}')
    yield _raw("workers", '{"workers": 1000000000}')
    for value in ("nan", "inf", "-1", "1e400", "0x10", "1_0", "9" * 5000):
        text = chain_text([1, 2]).replace("=2 ", f"={value} ").replace("time=1,", f"time={value},")
        yield _json(f"time {value[:8]} in a profile", changed(SMALL, profiles={"a.txt": text}))
    yield _json("bandwidth of nothing", changed(SMALL, bandwidths_bytes_per_s=[0]))
    yield _json("bandwidth almost nothing", changed(SMALL, bandwidths_bytes_per_s=[1e-300]))
    yield _json("memory below zero", changed(SMALL, memory_bytes=-1))
    yield _json("most GPUs", changed(SMALL, cluster="Server0\n A 999999 a.txt\n"))
    yield _json("count of many digits", changed(SMALL, cluster=f"Server0\n A {'9' * 5000} a.txt\n"))
    yield _json("Arabic digits", changed(SMALL, cluster="Server0\n A ٣ a.txt\n"))
    profile = {"g": SMALL["problem"]["profiles"]["a.txt"]}
    yield _json("levels beyond count", {"problem": {"profiles": profile, "machines": [10**7] * 8}})


def _sizes() -> Iterator[Hostile]:
    yield Hostile("large", b" " * 2_000_000, JSON)
    yield _json("long name", changed(SMALL, profiles={"a" * 100_000: "x"}))
    yield _json("many layers", changed(SMALL, profiles={"a.txt": chain_text([1] * 201)}))
    yield _json("many servers", changed(SMALL, cluster="Server\n" * 3000))
    yield _json("many profiles", changed(SMALL, profiles=dict.fromkeys(map(str, range(1000)), "x")))
    edges = chain_text([1, 2]) + "node1 -- node2\n" * 20_000
    yield _json("many edges", changed(SMALL, profiles={"a.txt": edges, "b.txt": edges}))
    pins = {f"*{k}*": "A" for k in range(9999)}
    long = {"a.txt": chain_text([1] * 200), "b.txt": chain_text([1] * 200)}
    yield _json("many patterns", changed(SMALL, profiles=long, constraints={"pin": pins}))
    slow = {"pin": {"*a" * 400 + "b": "A"}}
    text = {x: chain_text([1, 2], "a" * 5000) for x in ("a.txt", "b.txt")}
    yield _json("slow pattern", changed(SMALL, profiles=text, constraints=slow))


def _names() -> Iterator[Hostile]:
    for path in ("/etc/passwd", "../../../../etc/passwd", "file:///etc/passwd", "//x/y", "CON"):
        cluster = f"Server0\n A 1 {path}\n"
        yield _json(f"path {path}", changed(SMALL, cluster=cluster))
    servers = [
        {
            "name": "S",
            "bandwidth_bytes_per_s": 1e9,
            "gpus": [{"gpu": "A", "count": 1, "profile": "/etc/hostname"}],
        }
    ]
    yield _json("path in JSON", changed(SMALL, cluster={"servers": servers}))
    yield _json("NUL in a path", changed(SMALL, cluster="Server0\n A 1 a\0.txt\n"))
    yield _json("a plan to keep", changed(SMALL, constraints={"keep": {"plan": "/etc/passwd"}}))
    text = chain_text([1, 2], SCRIPT)
    profiles = {"a.txt": text, "b.txt": text}
    yield _json("script in a layer", changed(SMALL, profiles=profiles), harmless=True)
    name = {f"{SCRIPT}.txt": SMALL["problem"]["profiles"]["a.txt"]}
    cluster = f"Server0\n A 1 {SCRIPT}.txt\n"
    yield _json("script in a name", changed(SMALL, profiles=name, cluster=cluster), harmless=True)
    code = chain_text([1, 2], "__import__('os').system('touch owned')")
    profiles = {"a.txt": code, "b.txt": code}
    yield _json("code in a layer", changed(SMALL, profiles=profiles), harmless=True)
    terminal = chain_text([1, 2], "\x1b[2J\x1b]0;owned\x07")
    profiles = {"a.txt": terminal, "b.txt": terminal}
    yield _json("terminal codes", changed(SMALL, profiles=profiles), harmless=True)


def _structure() -> Iterator[Hostile]:
    yaml = "a: &a [x, x]\nb: &b [*a, *a]\nservers: [*b, *b]\n"
    yield _json("YAML that multiplies", changed(SMALL, cluster=yaml))
    yield _json(
        "YAML with objects", changed(SMALL, cluster="servers: !!python/object/apply:os.getcwd")
    )
    yield _json("deep YAML", changed(SMALL, cluster="[" * 50_000))
    yield _json("YAML of merges", changed(SMALL, cluster="<<: {<<: {<<: {}}}"))
    yield _json("unknown field", {**SMALL, "path": "/etc/passwd"})
    yield _json("unknown planner", {**SMALL, "planner": "os.system"})
    yield _json("no problem", {"planner": "cpsat"})
    yield _json("profile as object", changed(SMALL, profiles={"a.txt": {"x": 1}}))
    cycle = chain_text([1, 2]) + "node2 -- node1\n"
    yield _json("a cycle", changed(SMALL, profiles={"a.txt": cycle, "b.txt": cycle}))
    yield _json("prototype", changed(SMALL, profiles={"__proto__": "x"}))
    yield _json("empty instance", {"problem": {"instance": {}}})


def _compressed() -> Iterator[Hostile]:
    bomb = b"[" + b" " * 50_000_000 + b"]"
    yield Hostile("gzip bomb", gzip.compress(bomb, 9), {**JSON, "Content-Encoding": "gzip"})
    yield Hostile("deflate bomb", zlib.compress(bomb, 9), {**JSON, "Content-Encoding": "deflate"})
    yield Hostile("unknown coding", b"{}", {**JSON, "Content-Encoding": "br, gzip"})
