"""The `labkit` command: a table of subcommands, each imported only when it is called."""

from importlib import import_module

import click

# name -> (module and function, one line of help). The help stands here so that `labkit --help` imports nothing.
COMMANDS: dict[str, tuple[str, str]] = {
    "lab": ("labkit.commands.lab:lab", "Open JupyterLab on the start page."),
    "doctor": ("labkit.commands.doctor:doctor", "Is this installation as it should be, and what mends it?"),
    "check": ("labkit.commands.check:check", "Check one answer in a file."),
    "matrix": ("labkit.commands.matrix:matrix", "Try every wrong and right answer against every check."),
    "build": ("labkit.commands.build:build", "Source -> executed solution -> starter."),
    "verify": ("labkit.commands.verify:verify", "papermill, nbval and the rules on every solution."),
    "grade": ("labkit.commands.grade:grade", "Grade a class, apart from the judge."),
    "regrade": (
        "labkit.commands.regrade:regrade",
        "A class by the checks as they are now: who moves.",
    ),
    "export": ("labkit.commands.export:export", "A graded class as CSV, or for Gradescope, Canvas and JUnit."),
    "grade-demo": ("labkit.commands.grade_demo:grade_demo", "Grade a small made-up class."),
    "onnx": ("labkit.commands.onnx:onnx", "Look at an ONNX model; what each simplifier makes of it."),
    "trt": ("labkit.commands.trt:trt", "TensorRT plans from ONNX files, built with no GPU."),
    "transformer": ("labkit.commands.transformer:transformer", "Parameters, FLOPs, activations, KV cache."),
    "zero": ("labkit.commands.zero:zero", "Model states and traffic per rank, by ZeRO stage."),
    "observe": ("labkit.commands.observe:observe", "Watch DDP, ZeRO and FSDP2 train on this machine."),
    "route": ("labkit.commands.route:route", "Serve a trace with a simulated replica: waiting, use, evictions."),
    "gpu": ("labkit.commands.gpu:gpu", "Run everything of tier gpu and record what was seen."),
    "bench": ("labkit.commands.bench:bench", "Measure what each part costs, as ratios."),
}


class LazyGroup(click.Group):
    """A group that imports a subcommand's module when it is called, so that `--help` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="labkit")
def main() -> None:
    """Labs about making models small and fast: check answers, build labs, grade classes."""


if __name__ == "__main__":
    main()
