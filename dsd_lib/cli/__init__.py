"""The command line: ``dsd compare``, ``dsd score`` and ``dsd restore``.

Also ``python -m dsd_lib.cli``, and ``accelerate launch -m dsd_lib.cli ...``, which splits the
pictures over several processes. In Python, :mod:`dsd_lib.quality.scoring` and
:mod:`dsd_lib.restoration.restore` do the same.

Exit status: 0 all done, 1 some picture or file failed, 2 the command cannot be carried out, 130
interrupted.
"""

import os
import sys
from collections.abc import Sequence

from dsd_lib.cli.console import UsageError, complain, discard_output, safe_console


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line; returns the exit status.

    Args:
        arguments: without the program's name; None takes the process's own.

    >>> from dsd_lib.cli import main
    >>> main(["score", "no-such-picture.png", "--measures", "niqe", "brisque"])
    picture               niqe  brisque
    better when          lower    lower
    no-such-picture.png      -        -
    1
    """
    with safe_console():
        try:
            try:
                return _run(arguments)
            finally:
                sys.stdout.flush()
        except (UsageError, ImportError) as error:
            # When a process fails, its launcher ends the others, maybe before they have spoken. So
            # the first of several processes speaks and fails for all.
            if os.environ.get("RANK", "0") != "0":
                return 0
            complain(f"error: {error}")
            return 2
        except KeyboardInterrupt:
            complain("interrupted")
            return 130
        except BrokenPipeError:  # whoever reads our output, `head` for example, has left
            discard_output()
            return 1
        except OSError as error:  # every other file has been taken care of
            discard_output()
            complain(f"the output cannot be written: {error}")
            return 1


def _run(arguments: Sequence[str] | None) -> int:
    # Imported here: PyTorch takes seconds, in which the command may be interrupted.
    from dsd_lib.cli.arguments import parse

    options = parse(arguments)
    if options.command == "restore":
        from dsd_lib.cli.restoring import restore

        return restore(options)
    from dsd_lib.cli.measuring import measure

    return measure(options)
