"""Lab 08: knowledge distillation that measurably works, and where it does not."""

from labkit.course.exercises.distillation.hint_loss import hint_loss
from labkit.course.exercises.distillation.kd_loss import kd_loss
from labkit.course.exercises.distillation.paired_t import paired_t
from labkit.course.exercises.distillation.soft_targets import soft_targets
from labkit.course.exercises.distillation.train_student_bank import train_student
from labkit.course.lab_spec import LabSpec

LAB = LabSpec(
    name="08_distillation",
    title="Knowledge distillation",
    minutes=90,
    summary="teach a small network with a large one's soft answers, and measure over seeds where that helps",
    needs="a training loop in PyTorch; softmax and cross-entropy",
    hardware="any laptop",
    version=2,
    exercises=(soft_targets, kd_loss, train_student, paired_t, hint_loss),
)
