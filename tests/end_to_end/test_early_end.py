"""Asked to end while it starts, at any instant: status 0, and not a word of Python's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRIALS = 12
SITE = """\
version: 1
site: {{id: x}}
gateway: g
uplink: {{url: "mqtt://127.0.0.1:1"}}
lines: {{loop: {{driver: modbus, tcp: "127.0.0.1:2"}}}}
devices:
  panel:
    line: loop
    kind: smoke-detector
    points: {{smoke: {{at: holding 0, every: 1s, alarms: {{fire: {{kind: fire, equals: 1}}}}}}}}
store: {{path: {store}, max_size: 64MiB, alarm_reserve: 1MiB}}
"""
BEGUN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored around the tests
sys.argv = ["gateway", "run", sys.argv[1]]
from gateway.cli import main
sys.stdout.write("main\\n")
sys.stdout.flush()
main()
"""


@pytest.mark.parametrize("group", [False, True], ids=["the process", "its group"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_at_any_instant(tmp_path: Path, number: signal.Signals, *, group: bool) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(SITE.format(store=tmp_path / "store"))
    for trial in range(TRIALS):
        with subprocess.Popen(
            [sys.executable, "-c", BEGUN, str(site)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, start_new_session=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            while process.stdout.readline() != b"main\n":
                assert process.poll() is None
            with pytest.raises(subprocess.TimeoutExpired):  # an instant of its start, later with each trial
                process.wait(0.01 + 0.04 * trial)
            if group:
                os.killpg(process.pid, number)
            else:
                process.send_signal(number)
            _, errors = process.communicate(timeout=20)
        assert b"Traceback" not in errors, errors.decode()
        assert process.returncode == 0
