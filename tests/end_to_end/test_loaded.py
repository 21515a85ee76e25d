"""That nothing is loaded after READY is asserted wherever `running` runs the gateway: here it would be noticed."""

from pathlib import Path

import pytest

from tests.end_to_end.loaded import LATE
from tests.end_to_end.process import running

SITE = """\
version: 1
site: {{id: x}}
gateway: g
uplink: {{url: "mqtt://127.0.0.1:1"}}
lines: {{loop: {{driver: modbus, tcp: "127.0.0.1:2"}}}}
devices: {{one: {{line: loop, unit: 1, points: {{level: {{at: holding 0}}}}}}}}
store: {{path: {store}, max_size: 64MiB, alarm_reserve: 1MiB}}
"""
LOADS = """
import gateway.runtime.systemd as manager
from gateway.cli import main
from tests.end_to_end.loaded import watch_once_ready

watch_once_ready()
notify = manager.notify

def ready(message):
    handed = notify(message)
    if message == "READY=1":
        import {module}
    return handed

manager.notify = ready
main()
"""


@pytest.mark.parametrize("module", ["this", "encodings.punycode"])
async def test_a_module_that_is_loaded_after_ready_is_noticed(
    tmp_path: Path, module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(SITE.format(store=tmp_path / "store"))
    with pytest.raises(AssertionError, match="all is loaded before READY"):
        async with running(site, ("-c", LOADS.format(module=module), "run")) as gateway:
            assert (await gateway.stop())[0] == 0
    assert f"{LATE} {module}\n" in capsys.readouterr().err
