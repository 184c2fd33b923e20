"""`TokenAllocator(size)`: a pool of slots, each held by one request at a time."""

from labkit.course.exercises.token_attention.allocator_play import judge, note, probe, seen
from labkit.course.exercises.token_attention.allocator_right import right
from labkit.course.exercises.token_attention.allocator_scripts import all_cases, names_no_mistake
from labkit.course.exercises.token_attention.allocator_wrong import wrong
from labkit.course.played import PlayedExercise

token_allocator = PlayedExercise(
    name="TokenAllocator",
    signature="TokenAllocator(size)",
    goal="Write the class that hands out the slots 0 … size - 1 of a pool: `num_free`, `alloc(n)`,"
    " `alloc_contiguous(n)` and `free(indices)`. A call is done as a whole or changes nothing.",
    cases=all_cases,
    judge_case=judge,
    hints=(
        "Which slots are free, and how many: can you keep one of the two and compute the other? Two records of one"
        " fact are what the first published version got wrong.",
        "One bool per slot is enough. `np.flatnonzero` lists the free slots. A run of n free slots is a place where"
        " the entry n - 1 further on in that list is larger by exactly n - 1. In `free`, look at everything that may be"
        " wrong before you change anything.",
        "alloc: `free = flatnonzero(self.is_free)`; None if n > len(free); take `free[:n]`."
        " alloc_contiguous: for each place `at` in free: if `free[at + n - 1]` is `free[at] + n - 1`, take these n; if"
        " there is none, None. free: ValueError if a slot is < 0 or >= size, if it is free, or if it stands there"
        " twice; then mark all of them free.",
    ),
    points=6,
    minutes=35,
    difficulty=3,
    num_lines=24,
    probe=probe,
    note=note,
    seen=seen,
    wrong_answers=wrong,
    right_answers=right,
    names_no_mistake=names_no_mistake,
)
