"""The command line: one function per command, heavy imports inside.

`daemon`: run, check, status …; `virtual`: simulate, demo; `wire`: what a technician does on a line;
`token`: keys and signed commands; `access`: plates; `person`: what somebody on site does.
Exit status: 0 done, 1 the file is wrong, 2 it cannot be done now, 3 no daemon runs, 64 the command line is wrong.
"""

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line and exit."""
    if sys.argv[1:2] == ["run"]:
        from gateway.prepare import begin_early

        begin_early(sys.argv[2:])
    import click

    from gateway.cli import access, camera, daemon, person, token, virtual, walk, wire  # noqa: F401 - each brings its commands
    from gateway.cli.group import USAGE, commands

    try:
        sys.exit(commands.main(standalone_mode=False) or 0)
    except click.UsageError as error:
        error.show()
        sys.exit(USAGE)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)  # the reader of our output has seen enough
