"""The command line: one function per command, heavy imports inside.

`daemon`: run, check, status …; `simulate`: simulate, demo; `wire`: what a technician does on a line;
`token`: keys and signed commands; `access`: plates; `page`: the local page; `do`: what somebody on site does.
Exit status: 0 done, 1 the file is wrong, 2 it cannot be done now, 3 no daemon runs, 64 the command line is wrong.
"""

import os
import signal
import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line and exit."""
    if sys.argv[1:2] == ["run"]:
        for number in (signal.SIGTERM, signal.SIGINT):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under `nohup`
                signal.signal(number, _not_begun)
        from gateway.runtime.prepare import begin_early

        begin_early(sys.argv[2:])
    import click

    from gateway.cli import daemon  # noqa: F401 - has commands, as each of the others

    if sys.argv[1:2] != ["run"]:  # which needs none of them, and keeps what it loads for years
        from gateway.cli import (  # noqa: F401
            access,
            camera,
            do,
            init,
            page,
            picture,
            rounds,
            simulate,
            support,
            token,
            upgrade,
            walk,
            wire,
        )
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


def _not_begun(_number: int, _frame: object) -> NoReturn:
    """Asked to end before the gateway has begun: there is nothing to put away. `app` takes the signals over."""
    os._exit(0)
