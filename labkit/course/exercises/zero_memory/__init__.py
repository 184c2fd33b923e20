"""Lab 07: what training keeps in memory, ZeRO's stages, what they send, and ZeRO written by hand."""

from labkit.course.exercises.zero_memory.activation_bytes import activation_bytes
from labkit.course.exercises.zero_memory.choose_plan import choose_plan
from labkit.course.exercises.zero_memory.comm_elements import comm_elements
from labkit.course.exercises.zero_memory.failing_input import failing_input
from labkit.course.exercises.zero_memory.kv_cache_bytes import kv_cache_bytes
from labkit.course.exercises.zero_memory.smallest_stage import smallest_stage
from labkit.course.exercises.zero_memory.state_bytes import state_bytes
from labkit.course.exercises.zero_memory.transformer_params import transformer_params
from labkit.course.exercises.zero_memory.zero_step_answers import zero_step
from labkit.course.lab_spec import LabSpec

LAB = LabSpec(
    name="07_zero_memory",
    title="ZeRO and the memory of training",
    minutes=160,
    summary="count what training keeps and sends, write ZeRO's three stages by hand, and watch the real ones",
    needs="NumPy; what parameters, gradients and an optimizer's state are",
    hardware="any laptop: ranks are virtual, or processes on this machine",
    version=2,
    exercises=(
        transformer_params,
        state_bytes,
        comm_elements,
        zero_step,
        activation_bytes,
        smallest_stage,
        choose_plan,
        kv_cache_bytes,
        failing_input,
    ),
)
