"""The `conveyor` command. Verbs are imported when they are called, so that `--help` is quick."""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from collections.abc import Sequence

import click

from conveyor import __version__
from schema.errors import ConveyorError

VERBS: dict[str, str] = {
    "run": "Run a line: from its data to a pushed model.",
    "init": "Write a line.yaml and a first schema for a table.",
    "runs": "List the runs of a line.",
    "show": "Show one run: verdict, metrics by slice, artifacts, config.",
    "compare": "Compare two runs.",
    "explain-cache": "Say of each component of a run whether it was cached, and if not, why.",
    "reproduce": "Rebuild a released model, and compare it identity by identity.",
    "releases": "List the releases of a line.",
    "serve": "Serve the live model of a line by gRPC and REST.",
    "gateway": "Stand in front of TensorFlow Serving: capture, canary, tokens, TLS.",
    "canary": "Give a model version a share of the requests.",
    "promote": "Make the canary live for all requests.",
    "shadow": "Give a model version copies of the requests.",
    "rollback": "Put an earlier model version back.",
    "trace": "Trace a request, a version, a span, a run or a row.",
    "replay": "Ask captured requests again and compare the answers.",
    "logs": "Show the captured requests and answers of a line.",
    "predict": "Predict rows with the served model of a line.",
    "batch": "Predict a whole table or span with the live model, into files.",
    "gc": "Remove artifacts that nothing needs any more.",
    "schema": "Show and accept what changed in the data's schema.",
    "config": "Show a line's config with every default filled in.",
    "compile": "Write a line as a pipeline spec for Kubeflow or Vertex AI.",
    "submit": "Hand a line to Vertex AI or Kubeflow Pipelines.",
    "doctor": "Check whether this machine can run Conveyor.",
}


class LazyGroup(click.Group):
    """A group that knows the names of its verbs and imports a verb's module only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the verbs in the order of VERBS."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Returns the command of a verb, or None when there is no such verb."""
        if name not in VERBS:
            return None
        command = importlib.import_module(f"conveyor.verbs.{name.replace('-', '_')}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the list of verbs without importing any."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the verb, and names the nearest spelling when there is none."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"the verb must be one of {', '.join(VERBS)}. Got {args[0]!r} instead.{hint}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="conveyor")
def root() -> None:
    """Conveyor: a production TFX pipeline that you configure instead of write.

    LINE is the name of a line that comes with the project, a folder with a line.yaml, or a YAML file.

    \b
    Exit codes: 0 pushed, or nothing new to do; 1 failure; 2 usage or config error;
    3 not blessed; 4 data rejected; 5 not infra-blessed.
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
        argv: the arguments, without the program's name; by default the process's.

    Returns:
        The exit code.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    as_json = "--json" in args
    try:
        result = root.main(args=args, prog_name="conveyor", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        _complain(error.format_message(), 2, as_json, error)
        return 2
    except ConveyorError as error:
        _complain(str(error), error.exit_code, as_json)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted; the next `conveyor run` goes on where this one stopped", 130, as_json)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:
        if os.environ.get("CONVEYOR_TRACEBACK"):
            raise
        _complain(
            f"this should not have happened: {type(error).__name__}: {error}\n"
            "  next: set CONVEYOR_TRACEBACK=1 to see where, and report it",
            1,
            as_json,
        )
        return 1


def _complain(message: str, exit_code: int, as_json: bool, error: click.ClickException | None = None) -> None:
    if as_json:
        print(json.dumps({"error": message, "exit_code": exit_code}, ensure_ascii=False))
    context = getattr(error, "ctx", None)
    if context is not None:
        print(context.get_usage(), file=sys.stderr)
    print(f"conveyor: {message}", file=sys.stderr)


def script() -> None:
    """The console script."""
    code = main()
    if "tensorflow" in sys.modules:
        # Taking TensorFlow down takes the interpreter two seconds, and there is nothing left to be saved.
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
