"""`http.status` of the site file, and what the page shows of the rest of it."""

from pathlib import Path

from gateway import __version__
from gateway.config.contents import names_in
from gateway.config.device import Device
from gateway.config.rounds import PlaceTagEntry
from gateway.config.site import SiteFile
from gateway.config.units import endpoint
from gateway.model import Json
from gateway.settings.types import Listen, PageFacts, PageSettings, PageUser


def page_settings(file: SiteFile) -> PageSettings | None:
    """None: the file asks for none."""
    page = file.http.status if file.http else None
    if page is None:
        return None
    at, tls = endpoint(page.listen), page.tls
    users = {name: PageUser(user.role, user.password.place()) for name, user in page.users.items()}
    return PageSettings(
        listen=Listen(at.host, at.port, (Path(tls.cert), Path(tls.key)) if tls else None),
        read_only=page.read_only,
        users=users,
        names=names_in(Path(tls.cert)) if tls else frozenset(),
        facts=_facts(file),
    )


def _facts(file: SiteFile) -> PageFacts:
    site = file.site
    named = {"id": site.id, "name": site.name, "gateway": file.gateway, "timezone": site.timezone}
    return PageFacts(
        site=_there(**named, version=__version__, simulated=file.simulated or None),
        zones={name: _there(name=zone.name) for name, zone in file.zones.items()},
        gates={name: _there(name=one.name, kind=one.kind, zone=one.zone) for name, one in file.gates.items()},
        devices={
            name: _there(line=one.line, kind=one.kind, title=one.title, zone=one.zone, place=one.place)
            for name, one in file.devices.items()
        },
        cameras={
            name: _there(gate=one.gate, direction=one.direction if isinstance(one.direction, str) else None)
            for name, one in file.cameras.items()
        },
        rounds={name: _there(title=one.title, items=len(one.items)) for name, one in file.inspection.items()},
        places={
            name: _there(name=one.name, zone=one.zone, tag=None if one.tag is None else _tag(one.tag))
            for name, one in file.places.items()
        },
        tables={name: _table(one) for name, one in file.devices.items()},
    )


def _tag(tag: PlaceTagEntry) -> str:
    return "printed" if tag.printed is not None else "ntag424"


def _table(device: Device) -> dict[str, Json]:
    source = device.source
    return _there(
        profile=device.profile,
        source=None if source is None else source.text,
        verified=None if source is None else source.status == "verified",
        points={name: f"{point.at} {point.type}" for name, point in device.points.items()},
    )


def _there(**values: Json) -> dict[str, Json]:
    return {key: value for key, value in values.items() if value is not None}
