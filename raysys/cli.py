"""The `raysys` command: one word per thing that an operator does.

Every command takes `--json` and then prints exactly one line on standard output, its last: a JSON
object. What people read goes to standard error in that case, to standard output otherwise. Exit
codes: 0 done, 1 could not be done (the reason is printed), 2 misused, 3 done and the answer is no
(`raysys check`; the JSON line says it as `exit_code`), 130 stopped by Ctrl-C.
"""

import importlib
from collections.abc import Sequence

from raysys.commands.arguments import COMMANDS, build_parser
from raysys.commands.console import Console
from raysys.commands.submission import check_outputs
from raysys.errors import RaysysError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = build_parser().parse_args(argv)
    console = Console(as_json=arguments.json)
    try:
        command = COMMANDS[arguments.command]
        check_outputs(arguments, command.outputs)
        result = importlib.import_module(command.module).run(arguments, console)
        console.finish(result)
    except RaysysError as error:
        console.fail(error)
        return 1
    except KeyboardInterrupt:
        console.say("Stopped.")
        return 130
    return int(result.get("exit_code", 0))
