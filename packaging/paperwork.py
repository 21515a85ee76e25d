"""What is written about the package: man page, completion, copyright, SBOM. The same text for the same input."""

import datetime as dt
import hashlib
import json
import textwrap
import uuid
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
from click.shell_completion import BashComplete
from wheels import about

_LICENCE_WORDS = ("licen", "copying", "notice", "authors")
_EXIT = (
    ("0", "done"),
    ("1", "the file is wrong"),
    ("2", "it cannot be done now"),
    ("3", "no daemon runs"),
    ("64", "the command line is wrong"),
    ("70", "an error of the program's own"),
)
_FILES = (
    ("/etc/site-gateway/site.yaml", "the site file; without it the service is skipped"),
    ("/var/lib/site-gateway", "the store: journal, memory, what an upgrade came to"),
    ("/run/site-gateway/control.sock", "where the commands ask the running daemon"),
    ("/usr/share/doc/site-gateway", "documentation, an example site"),
)


# ---- the man page and completion ---------------------------------------------------------------------


def manual(commands: click.Group, version: str, day: dt.date) -> str:
    """`site-gateway(1)` in man(7), of the commands as they are."""
    lines = [
        f'.TH SITE-GATEWAY 1 "{day.isoformat()}" "site-gateway {version}" "User Commands"',
        ".SH NAME",
        "site\\-gateway \\- edge gateway of a residential compound",
        ".SH SYNOPSIS",
        ".B site\\-gateway",
        "COMMAND [ARGUMENT ...]",
        ".SH DESCRIPTION",
        _escaped(_text(commands)),
        ".SH COMMANDS",
    ]
    for path, command in _commands(commands, ()):
        lines += _command(path, command)
    lines += [".SH EXIT STATUS", *(line for code, text in _EXIT for line in _entry(code, text))]
    lines += [".SH FILES", *(line for name, text in _FILES for line in _entry(name, text))]
    lines += [
        ".SH SEE ALSO",
        ".BR systemctl (1),",
        ".BR journalctl (1),",
        "/usr/share/doc/site\\-gateway/installation.md",
    ]
    return "\n".join(lines) + "\n"


def _commands(group: click.Group, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))
        elif not command.hidden:
            yield (*path, name), command


def _command(path: tuple[str, ...], command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=" ".join(path))
    usage = " ".join([*path, *command.collect_usage_pieces(context)])
    yield f".SS {_escaped(usage)}"
    yield _escaped(_text(command))
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record and record[0] != "-h, --help":
            yield from _entry(*record)


def _text(command: click.Command) -> str:
    """Its help, with examples as lines of their own."""
    paragraphs = (command.help or "").replace("\\b", "\b").split("\n\n")
    shown = [
        "\n.br\n".join(paragraph.replace("\b", "").strip().splitlines()) if "\b" in paragraph else paragraph.strip()
        for paragraph in paragraphs
    ]
    return "\n.PP\n".join(shown)


def _entry(term: str, text: str) -> tuple[str, str, str]:
    return ".TP", f".B {_escaped(term)}", _escaped(text)


def _escaped(text: str) -> str:
    """For man(7): hyphens are typed, a line does not begin with a control character."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").splitlines()
    return "\n".join(line if line in (".br", ".PP") else f"\\&{line.strip()}" for line in lines)


def completion(commands: click.Group) -> str:
    """For bash."""
    return BashComplete(commands, {}, "site-gateway", "_SITE_GATEWAY_COMPLETE").source()


# ---- what is inside ----------------------------------------------------------------------------------


def copyright_text(licence: str, libraries: Mapping[str, Path]) -> str:
    """Of the program and of every library: who, under what, and the text of it (DEP-5)."""
    blocks = [
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: site-gateway",
        f"Files: *\nCopyright: the authors of site-gateway\nLicense: Apache-2.0\n{_indented(licence)}",
    ]
    for name, wheel in libraries.items():
        facts = about(wheel)
        who = "; ".join(facts.get("author", []) + facts.get("author-email", [])) or f"the authors of {name}"
        short = "-".join([name, *facts["version"]])
        blocks.append(
            f"Files: usr/lib/site-gateway/{name}/*\nCopyright: {' '.join(who.split())}\nLicense: {short}\n"
            f"{_indented(_licence_of(wheel, facts))}"
        )
    return "\n\n".join(blocks) + "\n"


def _licence_of(wheel: Path, facts: Mapping[str, list[str]]) -> str:
    """What it says of its licence, and every licence file that it carries. Raises ValueError if it says nothing."""
    with zipfile.ZipFile(wheel) as archive:
        texts = [
            archive.read(name).decode(errors="replace")
            for name in sorted(archive.namelist())
            if ".dist-info/" in name and any(word in name.rpartition("/")[2].lower() for word in _LICENCE_WORDS)
        ]
    stated = _stated(facts)
    if not texts and not stated:
        raise ValueError(f"{wheel.name}: no licence is stated")
    return "\n\n".join([f"Stated licence: {stated}", *texts])


def _stated(facts: Mapping[str, list[str]]) -> str:
    classified = [
        line.rpartition(" :: ")[2] for line in facts.get("classifier", []) if line.startswith("License :: OSI")
    ]
    stated = (
        facts.get("license-expression") or classified or [text.splitlines()[0] for text in facts.get("license", [])]
    )
    return ", ".join(stated)


def _indented(text: str) -> str:
    """As a field of DEP-5 wants it: a blank before each line, a dot for an empty one."""
    lines = [line.expandtabs().replace("\f", "").rstrip() for line in text.strip().splitlines()]
    return "\n".join(f" {line}" if line else " ." for line in lines)


def bill_of_materials(version: str, made: int, libraries: Mapping[str, list[Path]], machine: str) -> str:
    """What the package is made of, as CycloneDX 1.5; `made`: seconds; `libraries`: the wheels of each."""
    components = []
    for name, wheels in libraries.items():
        facts = about(wheels[0])
        purl = f"pkg:pypi/{name}@{facts['version'][0]}"
        component = {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": facts["version"][0],
            "purl": purl,
            "licenses": [{"license": {"name": _stated(facts)}}],
            "components": [
                {
                    "type": "file",
                    "name": wheel.name,
                    "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(wheel.read_bytes()).hexdigest()}],
                }
                for wheel in wheels
            ],
        }
        components.append(component)
    us = f"pkg:deb/site-gateway@{version}?arch={machine}"
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{us}#{made}')}",
        "version": 1,
        "metadata": {
            "timestamp": dt.datetime.fromtimestamp(made, dt.UTC).isoformat().replace("+00:00", "Z"),
            "component": {
                "type": "application",
                "bom-ref": us,
                "name": "site-gateway",
                "version": version,
                "purl": us,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            },
        },
        "components": components,
        "dependencies": [{"ref": us, "dependsOn": [component["bom-ref"] for component in components]}],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def changelog(version: str, made: int, maintainer: str) -> str:
    """What `debian/changelog` has to be: one entry, which points at the real one."""
    when = dt.datetime.fromtimestamp(made, dt.UTC).strftime("%a, %d %b %Y %H:%M:%S +0000")
    entry = textwrap.dedent("""\
        site-gateway ({version}) stable; urgency=medium

          * What changed is told in /usr/share/doc/site-gateway/CHANGELOG.md.

         -- {maintainer}  {when}
    """)
    return entry.format(version=version, maintainer=maintainer, when=when)
