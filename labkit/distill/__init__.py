"""Knowledge distillation on handwritten digits: the losses, the training, and experiments that measure what it gives.

    digits = load_digits()
    teacher = train_teacher(digits, progress=print)                      # 3 seconds, 99 % right
    images, labels = digits.few(per_class=5)
    student = make_student(hidden=[16])
    train_student(student, images, labels, logits_of(teacher, images), temperature=4, alpha=0.9)
    scores = few_labels(digits, teacher, seeds=range(10))                # ten students with and ten without
    print(scores.gain("distilled", over="labels only"))

A seed decides everything that is drawn, and torch's own generator is left as it was. Nothing is downloaded.
"""

from labkit.distill._arguments import DistillError
from labkit.distill.digits import Digits, load_digits
from labkit.distill.experiments import (
    DISTILLED,
    FEW,
    HINT_SCHEDULE,
    HINTED,
    LABELS_ONLY,
    MANY,
    UNSEEN,
    Group,
    Lessons,
    Setting,
    all_labels,
    compare_losses,
    controls,
    few_labels,
    hints,
    permute_wrong_classes,
    unlabelled,
    unseen_class,
)
from labkit.distill.loss import gradient_norm, hint_loss, kd_loss, soft_targets
from labkit.distill.networks import (
    Student,
    StudentStack,
    Teacher,
    make_student,
    make_teacher,
    num_parameters,
)
from labkit.distill.scores import Gain, Scores
from labkit.distill.training import (
    Epoch,
    Schedule,
    Teaching,
    accuracy,
    features_of,
    logits_of,
    one_thread,
    share_right,
    train_hints,
    train_student,
    train_students,
    train_teacher,
)

__all__ = [
    "DISTILLED",
    "FEW",
    "HINTED",
    "HINT_SCHEDULE",
    "LABELS_ONLY",
    "MANY",
    "UNSEEN",
    "Digits",
    "DistillError",
    "Epoch",
    "Gain",
    "Group",
    "Lessons",
    "Schedule",
    "Scores",
    "Setting",
    "Student",
    "StudentStack",
    "Teacher",
    "Teaching",
    "accuracy",
    "all_labels",
    "compare_losses",
    "controls",
    "features_of",
    "few_labels",
    "gradient_norm",
    "hint_loss",
    "hints",
    "kd_loss",
    "load_digits",
    "logits_of",
    "make_student",
    "make_teacher",
    "num_parameters",
    "one_thread",
    "permute_wrong_classes",
    "share_right",
    "soft_targets",
    "train_hints",
    "train_student",
    "train_students",
    "train_teacher",
    "unlabelled",
    "unseen_class",
]
