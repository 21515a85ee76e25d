"""A command is declared once: a new one takes its entry in the table and its behaviour, and is everywhere."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.commands import COMMANDS
from tests.test_house import ROOT, product, tree

ENTRY = """\
    "bell.ring": CommandType(
        zh="打铃",
        does="rings the bell of a zone",
        args={"zone": _ZONE, "for": Field(Duration(1.0, 60.0, "1s to 1m"), "时长"), "note": _A_NOTE},
        result={"zone": Field(_SAID)},
        by_default=True,
        role="steward",
    ),
"""
BEHAVIOUR = """
    def _ring(self, args: Args, _asker: Asker, now: Instant) -> Act:
        yield from self.linkage.end_test(str(args["zone"]), now)
        return Done({"zone": args["zone"]})
"""
PROGRAM = """
import json
import gateway
from gateway.commands import OFFERED, usage
from gateway.config.uplink import ALLOWED
from gateway.contract.asyncapi import document
from gateway.contract.commands import ARGS, RESULTS, claims
from gateway.cloud.commands.claims import DEFAULT_ALLOW
from tests.cloud.signing import claims as claims_of, sign, verifier
from tests.contract.regenerate import files
from tests.site.compound import ALL, Compound
from tests.test_command_table import row

def judged(**args):
    result = verifier().verify(sign(claims_of(cmd="bell.ring", args=args)))
    return getattr(result, "code", "taken")

site = Compound()
good = {"zone": "b3", "for_": "5s"}
message = document("0")["components"]["messages"]["command"]
print(json.dumps({
    "from": gateway.__file__,
    "usage": usage("bell.ring") if "bell.ring" in OFFERED else None,
    "allow": "bell.ring" in ALLOWED,
    "default": "bell.ring" in DEFAULT_ALLOW,
    "asyncapi": "bell.ring" in message["x-commands"],
    "needed": ARGS["bell.ring"]["required"],
    "claims": "bell.ring" in claims()["properties"]["cmd"]["enum"],
    "result": list(RESULTS["bell.ring"]["properties"]),
    "page": row(files()["mqtt.md"], "bell.ring"),
    "judged": [judged(zone="b3", **{"for": "5s"}), judged(zone="b3", **{"for": "2m"}), judged(zone="b3")],
    "guard": site.person("bell.ring", "guard", **good)["error"]["code"],
    "steward": site.person("bell.ring", "steward", **good)["result"],
    "too long": site.person("bell.ring", "steward", zone="b3", for_="2m")["error"]["code"],
    "from afar": site.command("bell.ring", allow=ALL | {"bell.ring"}, **good)["result"],
}))
"""


def row(page: str, cmd: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith(f"| `{cmd}` |")]


def insert(path: Path, after: str, text: str) -> None:
    source = path.read_text()
    assert source.count(after) == 1
    path.write_text(source.replace(after, after + text))


def test_a_new_command_takes_its_entry_and_its_behaviour(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "gateway", tmp_path / "gateway", ignore=shutil.ignore_patterns("__pycache__"))
    insert(tmp_path / "gateway/commands.py", "COMMANDS: Final[Mapping[str, CommandType]] = {\n", ENTRY)
    acts = tmp_path / "gateway/site/acts.py"
    insert(acts, '"zone.test": self._test,\n', '            "bell.ring": self._ring,\n')
    insert(acts, f"    # ---- points {'-' * 81}\n", BEHAVIOUR)

    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
    )
    said: dict[str, Any] = json.loads(done.stdout)

    assert said.pop("from") == str(tmp_path / "gateway/__init__.py")
    assert said == {
        "usage": "bell.ring zone=NAME for=30m [note=TEXT]",
        "allow": True,
        "default": True,
        "asyncapi": True,
        "needed": ["zone", "for"],
        "claims": True,
        "result": ["zone"],
        "page": [
            "| `bell.ring` | yes | 1 h | `zone` |",
            "| `bell.ring` | `zone`, `for`, `note`? | rings the bell of a zone |",
        ],
        "judged": ["taken", "bad-args", "bad-args"],
        "guard": "not-allowed",
        "steward": {"zone": "b3"},
        "too long": "bad-args",
        "from afar": {"zone": "b3"},
    }


BEHAVIOURS = {
    "gateway/commands.py": "the declaration",
    "gateway/site/acts.py": "what the site does",
    "gateway/site/commands.py": "a fire that a person saw counts however late",
    "gateway/site/access_acts.py": "what the site does with plates",
    "gateway/runtime/effects.py": "what is done outside of the site",
    "gateway/intake/lists.py": "what is done with lists",
    "gateway/site/round_acts.py": "what the site does with rounds",
    "gateway/site/round_run.py": "asks for it",
    "gateway/site/passages.py": "the audit of a list that people changed",
    "gateway/runtime/app.py": "who looks at a push stands in the audit",
    "gateway/local/queries.py": "questions of the control socket, with the roles of the commands of that name",
    "gateway/local/page.py": "asks for it",
    "gateway/technician/access.py": "asks for it",
    "gateway/technician/rounds.py": "the audit of what was written about a finding",
    "gateway/cli/camera.py": "asks for it",
    "gateway/cli/page.py": "the question of the control socket of that name",
    "gateway/cli/walk.py": "asks for it",
    "gateway/contract/events.py": "an event of that name",
    "gateway/site/alarms.py": "an event of that name",
}


def names_in(name: str) -> set[str]:
    """The names of commands, those with a dot, that a module writes out."""
    known = {cmd for cmd in COMMANDS if "." in cmd}
    return {node.value for node in ast.walk(tree(name)) if isinstance(node, ast.Constant) and node.value in known}


def test_no_other_place_names_a_command() -> None:
    found = {name: names for name in product() if name.startswith("gateway/") and (names := names_in(name))}

    assert {name: sorted(names) for name, names in found.items() if name not in BEHAVIOURS} == {}
    assert set(BEHAVIOURS) <= set(found)


def test_the_page_names_what_is_remembered_for_a_day() -> None:
    page = (ROOT / "docs/mqtt.md").read_text()
    text = page[page.index("**At most 1,000 commands of one key**") :].partition("a day)")[0]

    long = {cmd for cmd, one in COMMANDS.items() if one.remembered_for_a_day and not one.urgent}
    assert {cmd for cmd in COMMANDS if f"`{cmd}`" in text} == long
    assert {cmd for cmd, one in COMMANDS.items() if one.urgent} == {
        "gate.open", "gate.hold", "gate.release", "fire.confirm",
    }  # fmt: skip


@pytest.mark.parametrize("cmd", COMMANDS)
def test_people_on_site_can_read_it(cmd: str) -> None:
    one = COMMANDS[cmd]
    assert one.does
    texts = [one.zh, *(field.zh for field in one.args.values())]
    assert all(text and any("\u4e00" <= sign <= "\u9fff" for sign in text) for text in texts)
