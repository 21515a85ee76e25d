"""The example of config/profiles/README.md is a profile that works as it says."""

import re
from pathlib import Path

from drivers.modbus.line import ModbusPoller
from gateway.config.load import load
from gateway.settings import build
from tests.drivers.modbus.test_shipped_profiles import SITE, pdu

README = Path(__file__).parents[3] / "config" / "profiles" / "README.md"


def test_the_example_is_right_and_takes_one_request(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "acme-lg2.yaml").write_text(example)
    path = tmp_path / "site.yaml"
    path.write_text(SITE.format(profile="acme-lg2", line="serial: /dev/rs485"))
    loaded = load(path)
    assert loaded.site is not None, loaded.problems
    (block,) = ModbusPoller(build.modbus_line(loaded.site, "line")).blocks()
    assert pdu(block) == (3, 2)
    decoded = ModbusPoller(build.modbus_line(loaded.site, "line")).decode(block, bytes.fromhex("00fa 0002"))
    assert (decoded["level"].value, decoded["state"].text) == (2.5, "sensor fault")
    assert decoded["level"].unit == "m"
    assert (
        ModbusPoller(build.modbus_line(loaded.site, "line")).decode(block, bytes.fromhex("7fff 0000"))["level"].value
        is None
    )
