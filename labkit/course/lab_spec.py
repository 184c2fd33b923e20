"""What a lab is: declared once, read by its cards, the README's table, the starter and the grader."""

from dataclasses import dataclass

from labkit.course.exercise import Exercise


@dataclass(frozen=True)
class LabSpec:
    """A lab's declaration; `exercises` are in the order in which a learner meets them."""

    name: str  # "01_gemm_im2col": a promise, never renamed
    title: str
    minutes: int
    summary: str  # one sentence for the table of labs: what a learner builds
    needs: str  # what it assumes, for people
    hardware: str  # "any laptop", or what a GPU adds
    exercises: tuple[Exercise, ...]
    version: int = 1  # goes up with a changed exercise; CHANGELOG.md says who could be affected

    def __post_init__(self) -> None:
        for exercise in self.exercises:
            exercise.lab = self.name

    @property
    def points(self) -> int:
        """The most that a submission can score."""
        return sum(exercise.points for exercise in self.exercises)

    def exercise(self, name: str) -> Exercise:
        """The exercise of that name; KeyError says which there are."""
        for candidate in self.exercises:
            if candidate.name == name:
                return candidate
        known = ", ".join(exercise.name for exercise in self.exercises)
        raise KeyError(f"lab {self.name} has no exercise {name!r}; it has: {known}")
