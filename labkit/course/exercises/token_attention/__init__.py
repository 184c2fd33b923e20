"""Lab 05: a KV cache with one slot per token, its allocator, the table over it, and attention through the table."""

from labkit.course.exercises.token_attention.exposing_script import exposing_script
from labkit.course.exercises.token_attention.fragmenting_script import fragmenting_script
from labkit.course.exercises.token_attention.token_allocator import token_allocator
from labkit.course.exercises.token_attention.token_attention import token_attention
from labkit.course.exercises.token_attention.token_table import token_table
from labkit.course.exercises.token_attention.wasted_slots import wasted_slots
from labkit.course.lab_spec import LabSpec

LAB = LabSpec(
    name="05_token_attention",
    title="TokenAttention",
    minutes=120,
    summary="hold a KV cache token by token: write its allocator, break four published ones, attend through a table",
    needs="NumPy indexing; what keys, values and attention are",
    hardware="any laptop; a GPU adds the speed of the gather",
    exercises=(wasted_slots, token_allocator, exposing_script, fragmenting_script, token_table, token_attention),
    version=2,
)
