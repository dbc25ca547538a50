"""`recsmith`: the commands, and how their errors end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

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


_COMMANDS: dict[str, tuple[tuple[str, Callable[..., Any], str], ...]] = {
    "From a model to predictions": (
        ("import", import_model.run, "recsmith import dlrm.pt -o model/"),
        ("measure", measure.run, "recsmith measure -o machine.json"),
        ("plan", plan.run, "recsmith plan model/ -p machine.json --workload zipf:1.05 --batch 2048 -o plan.json"),
        ("explain", explain.run, "recsmith explain plan.json --model model/ -p machine.json"),
        ("predict", predict.run, "recsmith predict model/ --plan plan.json --input rows.parquet -o preds.parquet"),
        ("verify", verify.run, "recsmith verify model/ --against dlrm.pt --input rows.parquet"),
        ("report", report.run, "recsmith report model/ --plan plan.json -p machine.json --bench lookup.json"),
    ),
    "How a model is held": (
        ("train", train.run, "recsmith train --data criteo:train.txt --representation hybrid:varied -o run/"),
        ("evaluate", evaluate.run, "recsmith evaluate run/ --data criteo:test.txt"),
        ("convert", convert.run, "recsmith convert model/ --to table -o finished/"),
        ("compress", compress.run, "recsmith compress run/ --memory 200MB --data criteo:train.txt -o small/"),
        (
            "explore",
            explore.run,
            "recsmith explore run/ --platforms cpu,gpu.json --memory cpu=2GiB,gpu=200MB --data criteo:train.txt",
        ),
    ),
    "What is here, and how fast": (
        ("inspect", inspect_model.run, "recsmith inspect model/"),
        ("doctor", doctor.run, "recsmith doctor"),
    ),
}
_BENCHMARKS = (
    ("lookup", bench_lookup.run, "recsmith bench lookup --workload criteo_kaggle --batch 2048 --threads 2"),
    ("model", bench_model.run, "recsmith bench model --workload criteo_kaggle --batch 1,128,2048 --threads 2"),
)

for _panel, _members in _COMMANDS.items():
    for _name, _run, _example in _members:
        app.command(_name, epilog=f"Example: {_example}", rich_help_panel=_panel)(_run)
for _name, _run, _example in _BENCHMARKS:
    bench.command(_name, epilog=f"Example: {_example}")(_run)
app.add_typer(bench, name="bench", rich_help_panel=_panel)


def _say_version(asked: Any) -> None:
    if asked:
        import recsmith

        print(recsmith.__version__)
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[
        bool | None, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = None,
) -> None:
    pass


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
