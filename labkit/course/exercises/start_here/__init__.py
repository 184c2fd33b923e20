"""Lab 00: how a card, a check and a hint work, on one tiny exercise."""

from labkit.course.exercises.start_here.median import median
from labkit.course.lab_spec import LabSpec

LAB = LabSpec(
    name="00_start_here",
    title="Start here",
    minutes=20,
    summary="check the machine, meet cards, checks and hints, and learn to measure honestly",
    needs="Python and a little NumPy",
    hardware="any laptop",
    exercises=(median,),
)
