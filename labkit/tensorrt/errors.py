"""What can go wrong between a model and its plan, in TensorRT's words and with what to try.

TensorRT answers a failed build with None and writes the reason to a log, between lines that have nothing to do
with it. Here the reasons are kept, stripped of file names and line numbers, and joined with advice.
"""

import re
from collections.abc import Iterable, Sequence


class BuildError(ValueError):
    """No plan could be built; `reasons` are the builder's, `advice` is what to try, `log` is what it wrote, raw.

    The first line of the message is "No plan", the subject ("from net.onnx"), and the first reason. A profile of the
    model's own inputs (`profile_example`) is shown where one is missing.
    """

    def __init__(
        self, subject: str, reasons: Sequence[str], log: Sequence[str] = (), profile_example: str = ""
    ) -> None:
        self.reasons = tuple(readable(reason) for reason in reasons)
        self.advice = advice_for(self.reasons)
        if profile_example and any(phrase in reason for phrase in WANTS_A_PROFILE for reason in self.reasons):
            self.advice += (profile_example,)
        self.log = tuple(log)
        lines = [f"No plan {subject}: {self.reasons[0]}", *(f"  and: {reason}" for reason in self.reasons[1:])]
        super().__init__("\n".join([*lines, *(f"Try: {advice}" for advice in self.advice)]))


class BuildWarning(UserWarning):
    """A plan was built, but not all that was asked for is in it; the message is the builder's, and says what."""


class CacheError(OSError):
    """A folder that plans must not be kept in; the message says why and what to do."""


class CacheWarning(UserWarning):
    """A plan was built and returned, but could not be kept."""


class TensorrtMissing(ImportError):
    """Neither flavour of TensorRT can be imported; the message says which to install."""


class GpuMissing(RuntimeError):
    """Running a plan needs a GPU; the message says what it would have shown."""


# What the builder says when a profile, or an input in it, is missing.
WANTS_A_PROFILE = ("no optimization profile has been defined", "is missing dimensions in profile")

# A phrase of the builder's, parser's or labkit's own reason -> what to try. One row per message that was met.
ADVICE: tuple[tuple[str, str], ...] = (
    (
        WANTS_A_PROFILE[0],
        "say which shapes the plan must serve: a profile with (min, opt, max) for every dynamic input.",
    ),
    (WANTS_A_PROFILE[1], "give that input its (min, opt, max) shapes too."),
    ("MIN<=OPT<=MAX", "order the three shapes so that min <= opt <= max holds in every dimension, all of one rank."),
    (
        "Dimension mismatch for tensor",
        "that dimension is fixed in the graph: use its value in all three shapes, or export it dynamic (lab 02).",
    ),
    (
        "has static dimensions that don't match",
        "this input is static: leave it out of the profile, or export it with a dynamic dimension (lab 02).",
    ),
    ("dimensions but profile", "give as many sizes as the input has dimensions."),
    (
        "violate shape constraints",
        "a shape is baked into the graph, or the inputs' shapes do not fit together: export that dimension dynamic "
        "(lab 02), or give it one value in min, opt and max.",
    ),
    (
        "for Turing (SM75)",
        "leave SM75 out of targets, or build that plan with precision='fp16': Turing multiplies matrices in fp16 only.",
    ),
    (
        "input has type Int32 but must have type",
        "the bias carries Q/DQ nodes: quantize with extra_options={'QuantizeBias': False}, or let precision='int8' do "
        "it.",
    ),
    (
        "Non-zero zero point is not supported",
        "quantize symmetrically: extra_options={'ActivationSymmetric': True, 'WeightSymmetric': True}, or let "
        "precision='int8' do it.",
    ),
    (
        "has no importer for operator",
        "write the operator in terms of ones that TensorRT knows, cut that part off and run it outside, or load a "
        "plugin that implements it.",
    ),
    (
        "Failed to convert ONNX date type",
        "TensorRT computes with numbers only: do what works on text, or on another such type, outside of this graph.",
    ),
    ("within workspace limit", "raise workspace_bytes, or leave it out: the default is all that there is."),
    ("workspace memory greater than 0", "raise workspace_bytes, or leave it out."),
    (
        "graph_jit.cpp",
        "this needs a GPU while building (refit and stripped plans do): build on a machine that has one, or without "
        "that flag.",
    ),
    ("cannot be read in memory at once", "build this model with precision='fp32', from a graph already converted."),
)

# Lines that a machine without a driver adds to every error, and lines that only repeat the one before.
_NOISE = re.compile(r"cudaError 35|condition: profile->isValid\(\)|^ModelImporter\.cpp:\d+: ")
_IN_SOURCE = re.compile(r"[.;]?\s*In \S+(?: \S+)*? at \S+:\d+(?: Instruction: [^.]*)?")
_WRAPPER = re.compile(r"^(?:\[[^\]]*\]\s*|[\w~]+(?:::\w+)*:\s*)?Error Code \d+: [^(]*\((?P<inside>.*)\)\s*$", re.DOTALL)
_COMPILER_STEP = re.compile(r"(^|; )\(?\[[\w.]+:\d+: \w+\]\s*")


# Warnings of the builder's that nobody may miss; the others are about its own affairs.
_SERIOUS = re.compile(r"^Profile k(?P<bound>MIN|MAX) values are not self-consistent\.\s*(?P<why>.*)", re.DOTALL)


def serious_warnings(log: Iterable[str]) -> tuple[str, ...]:
    """The warnings that change what a plan is good for, as sentences.

    >>> serious_warnings(["Profile kMAX values are not self-consistent. y: too large In f at /a.cpp:9", "hello"])
    ('the plan does not serve the max shapes of its profile: y: too large.',)
    """
    found = (match for line in log if (match := _SERIOUS.match(line)))
    return tuple(
        f"the plan does not serve the {match['bound'].lower()} shapes of its profile: {readable(match['why'])}"
        for match in found
    )


def advice_for(reasons: Iterable[str]) -> tuple[str, ...]:
    """What to try, one sentence for each reason that is known, none twice."""
    reasons = tuple(reasons)
    known = (advice for phrase, advice in ADVICE if any(phrase in reason for reason in reasons))
    return tuple(dict.fromkeys(known))


def readable_reasons(log: Iterable[str]) -> tuple[str, ...]:
    """The distinct reasons in a builder's error lines: noise left out, wrappers and source positions taken off.

    >>> readable_reasons(["IBuilder::build: Error Code 4: API Usage Error (No profile. In f at /a.cpp:9)"])
    ('No profile.',)

    When every line is noise, the lines are kept: they are then the reason (TensorRT that needs a missing GPU).
    """
    lines = tuple(log)
    telling = [line for line in lines if not _NOISE.search(line)] or lines
    return tuple(dict.fromkeys(readable(line) for line in telling))


def readable(line: str) -> str:
    """One line of a builder's log as a sentence."""
    wrapped = _WRAPPER.match(line)
    text = wrapped["inside"] if wrapped else line
    text = " ".join(_COMPILER_STEP.sub(r"\1", _IN_SOURCE.sub("", text)).split())
    return text if text.endswith((".", "!", "?")) else f"{text}."
