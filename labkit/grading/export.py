"""A class's results in the formats of others: CSV, Gradescope's results.json, JUnit. Canvas has a file of its own."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from labkit.course.lab_spec import LabSpec
from labkit.grading.page import plain
from labkit.grading.result import Result

XML_ALLOWED = {9, 10, *range(32, 0xD800), *range(0xE000, 0xFFFE), *range(0x10000, 0x110000)}


def gradescope(spec: LabSpec, result: Result) -> dict[str, Any]:
    """One submission as Gradescope's autograder reads it: one test per exercise, findings visible to the learner.

    Format: gradescope-autograders.readthedocs.io, "Output Format".

    Raises:
        ValueError: the grader could not grade it; any results.json would give it a score.
    """
    if not result.is_graded:
        raise ValueError(f"{result.submission} is not graded yet: a results.json would give it 0")
    tests = [
        {
            "name": each.exercise,
            "number": str(number),
            "score": each.score,
            "max_score": each.max_score,
            "status": "passed" if each.outcome == "pass" else "failed",
            "output": plain(each.feedback),
            "output_format": "text",
            "tags": [each.outcome],
            "visibility": "visible",
        }
        for number, each in enumerate(result.marks, start=1)
    ]
    return {
        "score": result.score,
        "output": f"{spec.title}: {result.outcome}",
        "output_format": "text",
        "execution_time": round(float(result.run.get("elapsed_s", 0.0))),
        "visibility": "visible",
        "stdout_visibility": "hidden",
        "extra_data": {"lab": spec.name, "outcome": result.outcome, "provenance": _without_seed(result.provenance)},
        "tests": tests,
    }


def _without_seed(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What was graded, for a file that leaves the instructor's hands: the seed of the hidden cases stays here."""
    return {name: value for name, value in provenance.items() if name not in ("seed", "replay")}


def gradescope_json(spec: LabSpec, result: Result) -> str:
    """The text of results.json."""
    return json.dumps(gradescope(spec, result), indent=1, ensure_ascii=True) + "\n"


def junit(spec: LabSpec, results: Sequence[Result]) -> str:
    """A class as JUnit XML: a suite per submission, a test per exercise; what the grader owes is an error."""
    root = Element("testsuites", name=spec.name)
    for result in results:
        outcomes = [each.outcome for each in result.marks]
        owed = outcomes.count("infrastructure")
        suite = SubElement(
            root,
            "testsuite",
            name=_xml(result.submission),
            tests=str(len(outcomes)),
            failures=str(len(outcomes) - outcomes.count("pass") - owed),
            errors=str(owed),
            time=f"{float(result.run.get('elapsed_s', 0.0)):.3f}",
        )
        for each in result.marks:
            case = SubElement(suite, "testcase", classname=f"{spec.name}.{_xml(result.submission)}", name=each.exercise)
            if each.outcome == "infrastructure":
                SubElement(case, "error", message="not graded yet").text = _xml(each.feedback)
            elif each.outcome != "pass":
                SubElement(case, "failure", message=each.outcome).text = _xml(each.feedback)
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'


def _xml(value: str) -> str:
    return "".join(character if ord(character) in XML_ALLOWED else "\ufffd" for character in plain(value))
