"""`recsmith`: the commands, and how their errors end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import typer

from . import (
    bench_lookup,
    bench_model,
    compress,
    convert,
    doctor,
    evaluate,
    explain,
    explore,
    import_model,
    inspect_model,
    measure,
    plan,
    predict,
    report,
    train,
    verify,
)
from .output import fail

if TYPE_CHECKING:
    from recsmith.spec import RecsmithError

_EXIT_CODES = (
    "Exit codes: 0 done · 1 failed · 2 wrong usage or unknown name · 3 a file is not what it should be · "
    "4 bad input rows · 5 no valid plan, or a plan for another machine or model · 6 does not fit in memory · "
    "7 not available on this machine · 8 verify found a difference · 130 interrupted."
)

app = typer.Typer(
    name="recsmith",
    help="Inference for deep recommendation models, planned for the machine it runs on.",
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
bench = typer.Typer(help="Measure recsmith beside its rivals.", no_args_is_help=True)


def _add(parent: typer.Typer, name: str, command: Callable[..., Any], example: str) -> None:
    parent.command(name, epilog=f"Example: {example}")(command)


_add(app, "import", import_model.run, "recsmith import dlrm.pt -o model/")
_add(app, "train", train.run, "recsmith train --data criteo:train.txt --representation hybrid:varied -o run/")
_add(app, "evaluate", evaluate.run, "recsmith evaluate run/ --data criteo:test.txt")
_add(app, "compress", compress.run, "recsmith compress run/ --memory 200MB --data criteo:train.txt -o small/")
_add(
    app,
    "explore",
    explore.run,
    "recsmith explore run/ --platforms cpu,gpu.json --memory cpu=2GiB,gpu=200MB --data criteo:train.txt",
)
_add(app, "convert", convert.run, "recsmith convert model/ --to table -o finished/")
_add(app, "inspect", inspect_model.run, "recsmith inspect model/")
_add(app, "measure", measure.run, "recsmith measure -o machine.json")
_add(app, "plan", plan.run, "recsmith plan model/ -p machine.json --workload zipf:1.05 --batch 2048 -o plan.json")
_add(app, "explain", explain.run, "recsmith explain plan.json --model model/ -p machine.json")
_add(app, "predict", predict.run, "recsmith predict model/ --plan plan.json --input rows.parquet -o preds.parquet")
_add(app, "verify", verify.run, "recsmith verify model/ --against dlrm.pt --input rows.parquet")
app.add_typer(bench, name="bench")
_add(bench, "lookup", bench_lookup.run, "recsmith bench lookup --workload criteo_kaggle --batch 2048 --threads 2")
_add(bench, "model", bench_model.run, "recsmith bench model --workload criteo_kaggle --batch 1,128,2048 --threads 2")
_add(app, "report", report.run, "recsmith report model/ --plan plan.json -p machine.json --bench lookup.json")
_add(app, "doctor", doctor.run, "recsmith doctor")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(words, prog_name="recsmith")
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        expected = _expected(error)
        if expected is None:
            raise
        fail(expected, as_json="--json" in words)
        raise SystemExit(expected.exit_code) from None


def _expected(error: Exception) -> RecsmithError | None:
    """The error as one that its reader can act on; None for our own mistakes, which keep their traceback."""
    from recsmith.spec import RecsmithError  # here, so that --help does not load numpy

    if isinstance(error, RecsmithError):
        return error
    if isinstance(error, OSError) and error.filename is not None:
        return RecsmithError("file", f"'{error.filename}': {error.strerror}", "Check the path and its permissions.")
    return None
