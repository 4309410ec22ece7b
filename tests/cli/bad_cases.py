"""Wrong files and wrong options, each with what its message has to contain."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple


def node(name, forward="1.0", backward="2.0", activation="8.0", parameters="8.0"):
    """One node line of a profile."""
    return (
        f"{name} -- Linear(8, 8) -- forward_compute_time={forward}, "
        f"backward_compute_time={backward}, activation_size={activation}, "
        f"parameter_size={parameters}\n"
    )


NODES = node("a") + node("b") + node("c")
PROFILE = NODES + "\ta -- b\n\tb -- c\n"
SERVERS = "Server0\n    TitanV 1 titanv.txt\n    TitanXP 3 titanxp.txt\n"
CLUSTER = """\
gpus:
  TitanV: {profile: titanv.txt}
servers:
  - {name: Server0, bandwidth_bytes_per_s: 1000000000, gpus: [{gpu: TitanV, count: 2}]}
  - {name: Server1, bandwidth_bytes_per_s: 1000000000, gpus: [{gpu: TitanV, count: 2}]}
links:
  bandwidth_bytes_per_s: 100000000
"""
GOOD = {
    "titanv.txt": PROFILE,
    "titanxp.txt": PROFILE,
    "servers.txt": SERVERS,
    "cluster.yaml": CLUSTER,
}
FOLDER = object()


class Bad(NamedTuple):
    """What differs from good files, the command line, and what the message has to contain."""

    files: dict
    arguments: str
    expected: tuple[str, ...]


def profile(text, *expected):
    """A wrong profile: of the second GPU type of the server file."""
    return Bad({"titanxp.txt": text}, "plan servers.txt -b 1e9", expected)


def servers(text, *expected):
    """A wrong server file."""
    return Bad({"servers.txt": text}, "plan servers.txt -b 1e9", expected)


def cluster(old, new, *expected):
    """A cluster.yaml in which ``old`` reads ``new``."""
    assert old in CLUSTER
    return Bad({"cluster.yaml": CLUSTER.replace(old, new, 1)}, "plan cluster.yaml", expected)


def options(arguments, *expected):
    """Good files, wrong options."""
    return Bad({}, arguments, expected)


PROFILES = {
    "a cycle": profile(
        PROFILE + "\tc -- a\n", "titanxp.txt: the graph has a cycle: a -> b -> c -> a"
    ),
    "an edge to nowhere": profile(
        PROFILE + "\tc -- d\n", "titanxp.txt:6: edge 'c -- d' names 'd', which is not a node"
    ),
    "a node twice": profile(node("a") + NODES, "titanxp.txt:2: node 'a' is defined a second time"),
    "NaN": profile(
        node("a", forward="nan"),
        "titanxp.txt:1: node 'a': forward_compute_time is 'nan', expected a number of 0 or more",
    ),
    "a negative time": profile(
        node("a") + node("b", backward="-0.5"),
        "titanxp.txt:2: node 'b': backward_compute_time is '-0.5', expected a number of 0 or more",
    ),
    "an infinite size": profile(
        node("a", activation="inf"), "titanxp.txt:1: node 'a': activation_size is 'inf'"
    ),
    "an overflowing number": profile(
        node("a", parameters="1e999"), "titanxp.txt:1: node 'a': parameter_size is '1e999'"
    ),
    "a missing figure": profile(
        node("a").replace(", parameter_size=8.0", ""),
        "titanxp.txt:1: node 'a' has no parameter_size",
    ),
    "an unknown figure": profile(
        node("a").rstrip() + ", colour=8\n",
        "titanxp.txt:1: node 'a' has an unknown figure 'colour'",
    ),
    "a wrong stage": profile(
        node("a").rstrip() + " -- stage_id=-1\n", "titanxp.txt:1: node 'a': stage_id is '-1'"
    ),
    "a garbage line": profile(
        PROFILE + "hello\n", "titanxp.txt:6: found 'hello', expected a node 'ID -- DESCRIPTION"
    ),
    "an empty profile": profile("", "titanxp.txt: no nodes found"),
    "only inputs": Bad(
        {"titanv.txt": node("a").replace("Linear", "Input")},
        "plan --profile titanv.txt -n 2",
        ("titanv.txt: the graph holds inputs only; there is nothing to plan",),
    ),
    "a binary file": profile(
        b"\x7fELF\x02\x01\xff\xfe", "titanxp.txt: byte 6 is not UTF-8 text; expected a profile"
    ),
    "an archive": profile(b"\x1f\x8b\x08\x00\x00", "titanxp.txt: byte 1 is not UTF-8 text"),
    "control characters": profile(
        "\x1b[2J\x07\n", r"titanxp.txt:1: found '\x1b[2J\x07', expected a node"
    ),
    "other nodes": profile(
        PROFILE + node("d"),
        "titanxp.txt: the profiles disagree: 'd' is a node of TitanXP's but not of TitanV's",
    ),
    "other edges": profile(
        PROFILE + "\ta -- c\n", "titanxp.txt: the profiles disagree: edge 'a -- c'"
    ),
}

SERVER_FILES = {
    "no GPUs": servers(SERVERS.replace(" 3 ", " 0 "), "servers.txt:3: 'TitanXP' has count '0'"),
    "a count in words": servers(
        SERVERS.replace(" 1 ", " two "),
        "servers.txt:2: 'TitanV' has count 'two', expected a whole number of 1 or more",
    ),
    "a negative count": servers(SERVERS.replace(" 1 ", " -1 "), "servers.txt:2:", "count '-1'"),
    "a count with an exponent": servers(
        SERVERS.replace(" 1 ", " 1e3 "), "servers.txt:2:", "count '1e3'"
    ),
    "a huge count": servers(SERVERS.replace(" 1 ", " 99999999 "), "servers.txt:2:", "'99999999'"),
    "a missing profile": servers(
        SERVERS.replace("titanxp", "gone"),
        "servers.txt:3: the profile 'gone.txt' of 'TitanXP' does not exist",
    ),
    "a folder as profile": Bad(
        {"titanxp.txt": FOLDER},
        "plan servers.txt",
        ("servers.txt:3: the profile 'titanxp.txt' of 'TitanXP' does not exist",),
    ),
    "an empty server": servers(
        "Server0\nServer1\n    TitanV 1 titanv.txt\n", "servers.txt: server 'Server0' has no GPUs"
    ),
    "no server": servers("\n\n", "servers.txt: no servers found. A line that starts with 'Server'"),
    "a GPU before any server": servers(
        "    TitanV 1 titanv.txt\n", "servers.txt:1: a GPU line stands before any server"
    ),
    "a server twice": servers(
        SERVERS + SERVERS, "servers.txt:4: server 'Server0' is named twice. Use unique names"
    ),
    "a GPU twice": servers(
        SERVERS + "    TitanV 2 titanv.txt\n",
        "servers.txt:4: 'TitanV' is listed twice in Server0. Add up the counts in one line",
    ),
    "two profiles of one GPU": servers(
        "Server0\n    TitanV 1 titanv.txt\nServer1\n    TitanV 1 servers.txt\n",
        "servers.txt:4: 'TitanV' has two different profiles",
    ),
    "a wrong line": servers(
        SERVERS + "Host1\n", "servers.txt:4: found 'Host1', expected a server name that starts"
    ),
    "a GPU without a profile": servers(
        "Server0\n    TitanV 1\n", "servers.txt:2: found 'TitanV 1', expected 'GPU COUNT PROFILE'"
    ),
    "a profile in its place": options(
        "plan titanv.txt", "titanv.txt:1: found 'a -- Linear(8, 8)", "expected a server name"
    ),
    "a folder in its place": options("plan .", "a folder; expected a server file"),
    "no such file": options("plan gone.txt", "gone.txt: no such file; expected a server file"),
}

CLUSTER_FILES = {
    "bad YAML": cluster("links:", "links: [", "cluster.yaml:8: not valid YAML: "),
    "a tab": cluster("  TitanV:", "\tTitanV:", "cluster.yaml:2: not valid YAML: "),
    "a tag that makes objects": cluster(
        "{profile: titanv.txt}",
        "!!python/object/apply:os.system ['touch made']",
        "cluster.yaml:2: not valid YAML: could not determine a constructor for the tag",
    ),
    "an unknown key": cluster(
        "count: 2", "count: 2, colour: 2", "cluster.yaml: servers.0.gpus.0.colour: "
    ),
    "no bandwidth in a server": cluster(
        "bandwidth_bytes_per_s: 1000000000, ",
        "",
        "cluster.yaml: servers.0.bandwidth_bytes_per_s: is missing",
    ),
    "no bandwidth between servers": cluster(
        "links:\n  bandwidth_bytes_per_s: 100000000\n",
        "",
        "cluster.yaml: no bandwidth between Server0 and Server1. Write links.bandwidth_bytes_per_s",
    ),
    "bandwidth zero": cluster(
        "100000000\n", "0\n", "cluster.yaml: links.bandwidth_bytes_per_s: ", "(found 0)"
    ),
    "an unknown server in a pair": cluster(
        "links:",
        "links:\n  pairs: [{servers: [Server0, Server7], bandwidth_bytes_per_s: 1}]",
        "cluster.yaml: links.pairs names 'Server7', which is not a server",
    ),
    "a GPU type without a profile": cluster(
        "{profile: titanv.txt}", "{}", "cluster.yaml: 'TitanV' in Server0 has no profile. Write"
    ),
    "a missing profile in YAML": cluster(
        "titanv.txt", "gone.txt", "cluster.yaml: the profile 'gone.txt' of 'TitanV' does not exist"
    ),
    "no servers in YAML": Bad({"cluster.yaml": ""}, "plan cluster.yaml", ("cluster.yaml: ",)),
    "text instead of a list": Bad(
        {"cluster.yaml": "servers: two\n"},
        "plan cluster.yaml",
        ("cluster.yaml: servers: ", "(found 'two')"),
    ),
    "a bandwidth option": options("plan cluster.yaml -b 1e9", "-b", "cluster.yaml states"),
}

PLAN_HELP = "(see 'stagewright plan --help')"

OPTIONS = {
    "no command": options("", "a command is missing (see 'stagewright --help')"),
    "an unknown command": options("plam servers.txt", "No such command 'plam'"),
    "an unknown option": options("plan servers.txt --nonsense", "'--nonsense'", PLAN_HELP),
    "two server files": options(
        "plan servers.txt servers.txt", "extra argument (servers.txt)", PLAN_HELP
    ),
    "SERVERS and -f": options("plan servers.txt -f servers.txt", "either SERVERS or -f"),
    "neither": options("plan", "name a server file, or a profile with -n. For example: "),
    "SERVERS and --profile": options(
        "plan servers.txt --profile titanv.txt -n 2", "SERVERS", "--profile", "both"
    ),
    "-b without a value": options("plan servers.txt -b", "'-b' requires an argument", PLAN_HELP),
    "-b 0": options("plan servers.txt -b 0", "'-b'", "'0' is not a number above 0", PLAN_HELP),
    "-b nan": options("plan servers.txt -b nan", "'-b'", "'nan' is not a number above 0"),
    "-b with a unit": options("plan servers.txt -b 10GB", "'-b'", "'10GB' is not a number above 0"),
    "-b three times": options(
        "plan servers.txt -b 1e9 -b 1e8 -b 1e7",
        "3 bandwidths (-b); a server file takes one (inside a server) or two (inside, between)",
    ),
    "-n 0": options("plan --profile titanv.txt -n 0", "'-n'", "'0' is not a whole number from 1"),
    "-n 2.5": options("plan --profile titanv.txt -n 2.5", "'-n'", "'2.5' is not a whole number"),
    "-n without a profile": options("plan -n 4", "name", "profile"),
    "a profile without -n": options("plan --profile titanv.txt", "--profile needs -n"),
    "levels without bandwidths": options(
        "plan --profile titanv.txt -n 4 -n 2 -b 1e9",
        "2 levels (-n)",
        "expected one bandwidth per level",
    ),
    "too many GPUs": options("plan --profile titanv.txt -n 5000,3", "10,000 GPUs"),
    "far too many GPUs": options("plan --profile titanv.txt -n 1e300,1e300", "'1e300' is not"),
    "a server file as a profile": options(
        "plan --profile servers.txt -n 2", "servers.txt:1: found 'Server0', expected a node"
    ),
    "a missing profile of levels": options(
        "plan --profile gone.txt -n 2", "gone.txt: no such file; expected a profile"
    ),
    "-s 0": options("plan servers.txt -s 0", "'-s'", "'0' is not a number above 0"),
    "-s twice in one": options("plan servers.txt -s 1e9,1e9", "-s takes one number of bytes"),
    "an unknown planner": options(
        "plan servers.txt --planner magic", "'--planner'", "'magic' is not one of", "'cpsat'"
    ),
    "an unknown cost model": options(
        "plan servers.txt --cost-model magic", "'--cost-model'", "'topology'", PLAN_HELP
    ),
    "--max-stages 0": options("plan servers.txt --max-stages 0", "'--max-stages'", "x>=1"),
    "--time-limit 0": options("plan servers.txt --time-limit 0", "'--time-limit'", "x>0"),
    "--time-limit nan": options("plan servers.txt --time-limit nan", "'--time-limit'", "nan"),
    "--gap 2": options("plan servers.txt --gap 2", "'--gap'", "0<=x<1"),
    "--gap nan": options("plan servers.txt --gap nan", "'--gap'", "nan"),
    "--workers 0": options("plan servers.txt --workers 0", "'--workers'"),
    "--seed -1": options("plan servers.txt --seed -1", "'--seed'"),
    "compression ratio 0": options(
        "plan servers.txt --activation-compression-ratio 0", "compression", "expected a positive"
    ),
    "compression ratio -1": options(
        "plan servers.txt --activation-compression-ratio -1", "compression", "-1"
    ),
    "compression ratio nan": options(
        "plan servers.txt --activation-compression-ratio nan", "compression", "nan"
    ),
    "no transfers, compressed": options(
        "plan servers.txt --no-transfers --activation-compression-ratio 2",
        "--no-transfers and --activation-compression-ratio exclude each other",
    ),
    "sparsepipe on two servers": options(
        "plan cluster.yaml --cost-model sparsepipe",
        "cost model 'sparsepipe' is for one server",
        "use --cost-model topology",
    ),
    "pipedream on mixed types": options(
        "plan servers.txt --cost-model pipedream",
        "cost model 'pipedream' is flat: one server, one GPU type",
        "use --cost-model topology",
    ),
    "proportional without topology": options(
        "plan servers.txt --cost-model sparsepipe --dispatch proportional",
        "--dispatch proportional needs cost model 'topology'",
    ),
    "pipedream-dp on mixed types": options(
        "plan servers.txt --planner pipedream-dp",
        "planner 'pipedream-dp' does not apply: it plans for one GPU type; this cluster has "
        "TitanV, TitanXP",
    ),
    "sparsepipe-dp with a rule it lacks": options(
        "plan servers.txt --planner sparsepipe-dp --max-stages 2",
        "'sparsepipe-dp' does not",
        "--max-stages",
        "use cpsat or exact-dp",
    ),
    "no planners": options("compare servers.txt --planners ,", "--planners names none"),
    "a wrong one among the planners": options(
        "compare servers.txt --planners cpsat,magic", "unknown planner 'magic'; expected cpsat, "
    ),
    "compare with a model that does not apply": options(
        "compare cluster.yaml --cost-model sparsepipe", "'sparsepipe' is for one server"
    ),
    "completion of an unknown shell": options("completion tcsh", "'tcsh' is not one of 'bash'"),
    "completion of no shell": options("completion", "Missing argument", "bash", "zsh", "fish"),
}

RULES = 'max_gpus = 3\nrecompute = "auto"\n[memory]\nuse = false\nversions = "2bw"\n'


def rules(text, arguments, *expected):
    """A constraints file beside good files, and options."""
    return Bad(
        {"rules.toml": text}, f"plan servers.txt --constraints rules.toml {arguments}", expected
    )


def replan(text, arguments, *expected):
    """A plan to keep beside good files, and options."""
    return Bad({"old.json": text}, f"plan servers.txt {arguments}", expected)


CONSTRAINTS = {
    "--max-replicas 0": options("plan servers.txt --max-replicas 0", "'--max-replicas'", "x>=1"),
    "--max-gpus 0": options("plan servers.txt --max-gpus 0", "'--max-gpus'", "x>=1", PLAN_HELP),
    "--max-gpus in words": options("plan servers.txt --max-gpus two", "'two' is not a valid"),
    "--max-price -1": options("plan cluster.yaml --max-price -1", "'--max-price'", "0<=x<="),
    "--max-price nan": options("plan cluster.yaml --max-price nan", "'--max-price'", "nan"),
    "--max-price without prices": options(
        "plan servers.txt --max-price 3",
        "a limit on the price needs a price for every GPU group. Add price_per_hour to each group "
        "of the cluster.yaml",
    ),
    "--recompute sometimes": options(
        "plan servers.txt --recompute sometimes", "'--recompute'", "'never', 'always', 'auto'"
    ),
    "--solver magic": options("plan servers.txt --solver magic", "'--solver'", "'highs'"),
    "--pin without a place": options(
        "plan servers.txt --pin a", "'--pin'", "'a' is not NODE=WHERE, such as node5=TitanV"
    ),
    "--pin nothing": options("plan servers.txt --pin =TitanV", "'=TitanV' is not NODE=WHERE"),
    "--pin to an unknown place": options(
        "plan servers.txt --pin a=TitanX",
        "'TitanX' is no place of this cluster; expected stage:K, a GPU type, a server, or "
        "SERVER/TYPE. Did you mean 'TitanXP', 'TitanV'?",
    ),
    "--pin of an unknown layer": options(
        "plan servers.txt --pin 'Linar(8, 8)=stage:0'",
        "no layer is called or described as 'Linar(8, 8)'. Did you mean 'Linear(8, 8)'?",
    ),
    "--pin to two stages": options(
        "plan servers.txt --pin a=stage:0 --pin a=stage:1",
        "'a' is pinned to stage 0 and to stage 1. A layer lies in one stage only",
    ),
    "--pin to no GPU": options(
        "plan servers.txt --pin a=TitanV --pin a=TitanXP", "no GPU is left for 'a'"
    ),
    "--forbid everywhere": options(
        "plan servers.txt --forbid '*=Server0'", "no GPU is left for 'a'", "forbid the others"
    ),
    "--forbid a stage": options(
        "plan servers.txt --forbid a=stage:0", "'stage:0' cannot be forbidden; expected a GPU type"
    ),
    "--together of nothing": options("plan servers.txt --together ,", "it names nothing"),
    "--together of one": options(
        "plan servers.txt --together a,a", "'a, a' names one layer only; expected two or more"
    ),
    "--together with an unknown layer": options(
        "compare servers.txt --together a,d", "no layer is called or described as 'd'"
    ),
    "--replan without a limit": options(
        "plan servers.txt --replan old.json", "--replan needs --max-moved, how many layers may"
    ),
    "--max-moved without a plan": options(
        "plan servers.txt --max-moved 3", "--max-moved goes with --replan, the plan that layers"
    ),
    "--max-moved -1": options("plan servers.txt --max-moved -1", "'--max-moved'", "x<="),
    "--replan of a file that is not there": options(
        "plan servers.txt --replan gone.json --max-moved 1",
        "gone.json: no such file; expected a plan document",
    ),
    "--replan of another network": replan(
        '{"stages": [{"nodes": ["x"]}]}',
        "--replan old.json --max-moved 1",
        "old.json: the plan holds none of the layers to be planned (it has 'x')",
    ),
    "--replan of a profile": options(
        "plan servers.txt --replan titanv.txt --max-moved 1",
        "titanv.txt: invalid JSON",
        "Expected a plan document",
    ),
    "a constraints file that is not there": options(
        "plan servers.txt --constraints gone.toml", "gone.toml: no such file; expected a constraint"
    ),
    "a constraints file of another kind": options(
        "plan servers.txt --constraints titanv.txt", "found the suffix '.txt', expected .toml"
    ),
    "bad TOML": rules("max_gpus = \n", "", "rules.toml:1: not valid TOML: Invalid value"),
    "an unknown constraint": rules("max_gpu = 3\n", "", "rules.toml: max_gpu: extra inputs"),
    "a file that contradicts a number": rules(
        RULES,
        "--max-gpus 2",
        "rules.toml: max_gpus is 3 here, but --max-gpus 2 is given. State it once",
    ),
    "a file that contradicts a word": rules(
        RULES, "--versions stash", "memory.versions is 2bw here, but --versions stash is given"
    ),
    "a file that contradicts a rule": rules(
        RULES, "--recompute never", "recompute is auto here, but --recompute never is given"
    ),
    "a file that contradicts a flag": rules(
        RULES,
        "--use-memory-constraint",
        "memory.use is false here, but --use-memory-constraint is given",
    ),
    "a file that contradicts a pin": rules(
        "pin = {a = 'stage:0'}", "--pin a=stage:1", "'a' is pinned to stage 1 and to stage 0"
    ),
    "a file that contradicts the plan to keep": rules(
        "keep = {plan = 'old.json', most_moved = 1}",
        "--replan old.json --max-moved 2",
        "keep is old.json with 1 moved here, but --replan old.json with 2 moved is given",
    ),
    "a file that keeps a plan that is not there": rules(
        "keep = {plan = 'gone.json', most_moved = 1}",
        "",
        "gone.json: no such file; expected a plan",
    ),
    "a file that pins an unknown layer": rules(
        "pin = {d = 'TitanV'}", "", "no layer is called or described as 'd'"
    ),
}

OUTPUTS = {
    "a file in the folder's place": options(
        "plan servers.txt -o titanv.txt", "titanv.txt: is a file; expected a folder to write into"
    ),
    "a folder below a file": options(
        "plan servers.txt -o titanv.txt/out",
        "titanv.txt/out: cannot write the output: ",
        "Name a folder that you can write to with -o",
    ),
    "a name that is too long": options(
        f"plan servers.txt -o {'x' * 300}", "cannot write the output: File name too long"
    ),
    "an empty name": options("plan servers.txt -o ''", "-o"),
    "a folder in a file's place": Bad(
        {"out/plan.json": FOLDER},
        "plan servers.txt -o out",
        ("out: 'plan.json' is a folder there; expected a file",),
    ),
}

BAD = {**PROFILES, **SERVER_FILES, **CLUSTER_FILES, **OPTIONS, **CONSTRAINTS, **OUTPUTS}


def lay_out(files):
    """Write the files of a case into the working directory."""
    for name, content in {**GOOD, **files}.items():
        path = Path(name)
        if content is FOLDER:
            path.mkdir(parents=True)
        elif isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content, encoding="utf-8")


LEAK = re.compile(r"\\n|<class|Error\(|pydantic|NoneType|(?<!\.)\.\.(?!\.)")
"""What Python says to programmers, or a sentence that was put together badly."""


def assert_refused(answer, expected=()):
    """Check that a run ended with code 2 and one line on stderr, which holds ``expected``."""
    assert "Traceback" not in answer.err
    assert answer.code == 2, answer
    assert answer.out == ""
    assert answer.err.endswith("\n")
    (line,) = answer.err.splitlines()
    assert line.startswith("stagewright: error: ")
    assert len(line) <= 450
    assert not LEAK.search(line)
    for text in expected:
        assert text in line
