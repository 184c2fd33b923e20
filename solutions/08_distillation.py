# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Knowledge distillation
#
# **Goal.** Teach a small network with a large one's answers, and measure, over seeds, where that helps and where not.
#
# **Needed.** A training loop in PyTorch; softmax and cross-entropy. Any laptop. About an hour and a half, five
# exercises.
#
# **At the end** you have your own distillation loss, checked by its gradient, a paired test, and a table of settings in
# which a teacher is worth something. The student then goes down the deploy path.
#
# Letters used everywhere: B images in a batch, C = 10 classes, T temperature, α (`alpha`) the teacher's share in the
# loss. **Logits** are a network's outputs before softmax.

# %% tags=["parameters"]
SEED = 0
DEVICE = "cpu"
QUICK = False

# %%
from dataclasses import replace

import torch
from torch.nn import functional as F

import labkit
from labkit import distill
from labkit.widgets.progress_bar import ProgressBar

lab = labkit.open_lab("08_distillation", seed=SEED)
seeds = range(SEED, SEED + (4 if QUICK else 10))
effort = 8 if QUICK else 1  # a quick run trains students for an eighth of the epochs
few, many, unseen, hinted = (
    each.shorter(effort) for each in (distill.FEW, distill.MANY, distill.UNSEEN, distill.HINTED)
)
torch.set_num_threads(1)  # networks as small as these only wait for a second thread
lab

# %% [markdown]
# ## A teacher
#
# The data are scikit-learn's handwritten digits: 1,000 to train on, 797 to test on. The test images decide nothing in
# this lab: no epoch, no temperature and no setting is chosen by them. The teacher is a small convolutional network; a
# **student** is a perceptron with 16 hidden units. Training the teacher takes about five seconds on two cores, and
# every later cell that takes longer than a few seconds says so as well; the whole lab computes for about a minute.

# %%
digits = distill.load_digits()
bar = ProgressBar("teacher")
teacher = distill.train_teacher(digits, seed=SEED, progress=lambda epoch: bar(epoch.share))

print(f"teacher: {distill.num_parameters(teacher):,} parameters,", end=" ")
print(f"{distill.accuracy(teacher, digits.test_images, digits.test_labels):.1%} of the test images right")
print(f"student: {distill.num_parameters(distill.make_student()):,} parameters")

# %% [markdown]
# ## What a teacher knows that labels do not
#
# A label says: this is a 3. The teacher also says what the 3 could have been: rather a 9 than a 4. Hinton, Vinyals and
# Dean called this **dark knowledge** ([2015](https://arxiv.org/abs/1503.02531)). It is dark because a teacher that is
# almost certain hides it in the last decimals of its probabilities. Divide the logits by a temperature T first, and it
# becomes visible.

# %%
lab.card("soft_targets")

# %% [markdown]
# **Shapes.** `logits`: tensor (B, C), `temperature`: a number above 0 → tensor (B, C), each row a sum of 1.

# %%
def soft_targets(logits, temperature):
    """Probabilities softmax(logits / temperature), row by row.

    >>> soft_targets(torch.tensor([[4.0, 2.0, 0.0]]), temperature=4)
    tensor([[0.5065, 0.3072, 0.1863]])
    """
    ### BEGIN SOLUTION
    return F.softmax(logits / temperature, dim=1)
    ### END SOLUTION

# %%
lab.check(soft_targets)

# %% [markdown]
# Below, `image` chooses a digit: of each class the training image that the teacher finds least clear. Which other class
# would you have named? Change the image, then the temperature. What is left of the teacher's knowledge at T = 50?

# %%
from labkit.widgets.soft_targets import temperature

best, second = distill.logits_of(teacher, digits.images).topk(2, dim=1).values.unbind(dim=1)
unclear = [int((best - second).masked_fill(digits.labels != digit, 1e9).argmin()) for digit in range(10)]
examples, example_labels = digits.images[unclear], digits.labels[unclear]
temperature(soft_targets, examples, distill.logits_of(teacher, examples), example_labels)

# %% [markdown]
# ## The loss
#
# The student learns from both, the label and the teacher:
#
# $$L = (1-\alpha)\,\mathrm{CE}(s, y) + \alpha\,T^2\,\mathrm{KL}\big(\mathrm{softmax}(t/T)\,\|\,\mathrm{softmax}(s/T)\big)$$
#
# s and t are the logits of student and teacher, y the labels, and KL(p ‖ q) = Σ p·(log p − log q) over the classes.
# Both terms are means over the batch. The teacher is a constant: no gradient goes there.

# %%
lab.card("kd_loss")

# %% [markdown]
# **Shapes.** Both logits: (B, C). `labels`: (B,), integers → a scalar tensor.
#
# **Given.** `F.cross_entropy`, `F.log_softmax`, and `F.kl_div` if you like; read its documentation twice. Texts also
# write the soft term as a cross-entropy with soft targets. Its gradient is the same and its value is not; KL is asked
# for.

# %%
def kd_loss(student_logits, teacher_logits, labels, temperature, alpha):
    """(1 - alpha)·CE(student, labels) + alpha·T²·KL(teacher at T ‖ student at T), the mean over the batch.

    >>> student, teacher = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[3.0, 2.0, -5.0]])
    >>> kd_loss(student, teacher, torch.tensor([0]), temperature=4, alpha=0.9)
    tensor(1.6826)
    """
    ### BEGIN SOLUTION
    hard = F.cross_entropy(student_logits, labels)
    log_student = F.log_softmax(student_logits / temperature, dim=1)  # B, C
    log_teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=1)  # B, C
    soft = F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True)
    return (1 - alpha) * hard + alpha * temperature**2 * soft
    ### END SOLUTION

# %%
lab.check(kd_loss)

# %% [markdown]
# The check compared your gradient with its closed form. With p = softmax(s), and p_T, q_T the softmax of s/T and t/T,
# it is [(1 − α)(p − y) + α·T·(p_T − q_T)] / B: the label pulls on the logits, and the teacher pulls. The picture shows
# both pulls on a student that has had few lessons. Find a setting in which the two disagree.

# %%
from labkit.widgets.soft_targets import mixing

few_images, few_labels = digits.few(per_class=5, seed=SEED)
beginner = distill.make_student(seed=SEED)
distill.train_student(beginner, few_images, few_labels, schedule=distill.Schedule(epochs=40))
mixing(kd_loss, examples, distill.logits_of(beginner, examples), distill.logits_of(teacher, examples), example_labels)

# %% [markdown]
# ## What T² is for
#
# Leave T² out and take the teacher alone (α = 1). By which factor is the gradient shorter at T = 32 than at T = 8?

# %%
### BEGIN SOLUTION
shrinkage_guess = 16
### END SOLUTION
lab.predict("gradient at T = 8 over that at T = 32, without T²", shrinkage_guess, "times")

# %%
student_logits = distill.logits_of(beginner, digits.images).requires_grad_()
teacher_logits = distill.logits_of(teacher, digits.images)
lengths = {}
for t in (1, 2, 4, 8, 16, 32):
    soft_loss = kd_loss(student_logits, teacher_logits, digits.labels, t, 1.0)
    lengths[t] = distill.gradient_norm(soft_loss, student_logits)
    print(f"T = {t:2}: length {lengths[t] / t**2:.5f} without T², {lengths[t]:.3f} with it")
lab.reconcile("gradient at T = 8 over that at T = 32, without T²", (lengths[8] / 8**2) / (lengths[32] / 32**2))

# %% [markdown]
# **Where it comes from.** One 1/T is the chain rule's, from s/T. The other comes from the softmax: at a high T the two
# distributions differ by about (s − t)/(T·C). So the soft gradient fades as 1/T², *roughly*: the rule is for a T that is
# large against the logits, and near T = 1 it does not hold at all. Without T², whoever turns T up turns the teacher down.
#
# ## A pass of training

# %%
lab.card("train_student")

# %% [markdown]
# **Given.** Your `kd_loss`. `student` and `teacher` are modules, `optimizer` holds the student's parameters, `batches`
# is a list of pairs (images, labels). Whoever called before may have left both modules in any mode, and gradients in
# the student.

# %%
def train_student(student, teacher, optimizer, batches, temperature, alpha):
    """One pass over the batches, a step for each; the list of their losses, numbers. The teacher stays as it is."""
    ### BEGIN SOLUTION
    student.train()
    teacher.eval()
    losses = []
    for images, labels in batches:
        with torch.no_grad():
            teacher_logits = teacher(images)
        loss = kd_loss(student(images), teacher_logits, labels, temperature, alpha)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
    ### END SOLUTION

# %%
lab.check(train_student)

# %% [markdown]
# A student that has seen only 50 labelled images, five of each class, trained by your passes:

# %%
torch.manual_seed(SEED)
num_epochs = few.schedule.epochs
student = distill.make_student(seed=SEED)
optimizer = torch.optim.Adam(student.parameters(), lr=5e-3)
for epoch in range(1, num_epochs + 1):
    batches = [(few_images[batch], few_labels[batch]) for batch in torch.randperm(len(few_images)).split(25)]
    losses = train_student(student, teacher, optimizer, batches, temperature=4, alpha=0.9)
    if epoch in (1, num_epochs // 10, num_epochs // 3, num_epochs):
        right = distill.accuracy(student, digits.test_images, digits.test_labels)
        print(f"epoch {epoch:3}: loss {losses[-1]:.3f}, {right:.1%} of the test images right")

# %% [markdown]
# ## Is it the teacher?
#
# One number proves nothing. Train a student without the teacher too, on the same images, from the same first weights,
# and repeat both with other seeds. A seed that draws awkward images is hard for both students, so compare **seed by
# seed**.

# %%
lab.card("paired_t")

# %% [markdown]
# **Shapes.** Two lists of n floats, one entry a seed in the same order → a float. As a rule of thumb, with ten seeds a
# |t| above 2.3 would come from pure chance in one of twenty comparisons.

# %%
def paired_t(distilled, labels_only):
    """Mean of the differences over its standard error.

    >>> round(paired_t([0.90, 0.93, 0.88], [0.84, 0.86, 0.85]), 2)
    4.44
    """
    ### BEGIN SOLUTION
    gains = torch.tensor(distilled, dtype=torch.float64) - torch.tensor(labels_only, dtype=torch.float64)
    error = gains.std(correction=1) / len(gains) ** 0.5
    return float(gains.mean() / error)
    ### END SOLUTION

# %%
lab.check(paired_t)

# %% [markdown]
# Each seed now draws 50 labelled images of its own. Before you run it: how many percentage points does the teacher
# add, with T = 4 and α = 0.9?

# %%
### BEGIN SOLUTION
few_labels_guess = 3
### END SOLUTION
lab.predict("gain with 50 labelled images", few_labels_guess, "points")

# %% [markdown]
# labkit trains the students of all seeds and settings side by side, in one batched product, with your `kd_loss`. Each
# learns exactly what it would learn alone.

# %%
few_scores = distill.few_labels(digits, teacher, seeds, kd_loss, setting=few, progress=ProgressBar("20 students"))
few_gain = few_scores.gain("distilled", over="labels only")
print(few_scores)
print()
print(f"your paired t: {paired_t(few_scores['distilled'], few_scores['labels only']):.1f}")
print(few_gain)
lab.reconcile("gain with 50 labelled images", few_gain.mean)

# %% [markdown]
# **Where it comes from.** 50 labels are 50 class numbers. The teacher has seen 1,000 images, and tells for each of the
# 50 how it resembles ten classes. Is it the same on a GPU? `make gpu` trains teacher and students there.

# %%
from labkit.evidence import recorded

print(recorded("distillation"))

# %% [markdown]
# ## Why accuracy cannot grade a loss
#
# Here are twelve wrong losses, from the bank that `lab.check` was tested with: all of them are rejected by it. Suppose
# that it had trained a student instead and asked for 3 points more than the labels alone give. How many of the twelve
# would pass? (They train for about ten seconds.)

# %%
### BEGIN SOLUTION
passing_guess = 4
### END SOLUTION
lab.predict("wrong losses that pass a test by accuracy", passing_guess, "of 12")

# %%
from labkit.course import exercise

chosen = [
    "no T²", "T in place of T²", "T on the student only", "mean over the classes too", "KL reversed",
    "probabilities given to kl_div", "softmax over the batch", "weights swapped", "labels left out",
    "squared difference of logits", "the teacher's winner as label", "sign flipped",
]  # fmt: skip
bank = {wrong.name: wrong.candidate for wrong in exercise("08_distillation", "kd_loss").wrong_answers}
wrong_losses = {name: bank[name] for name in chosen}


def gradient_of(loss):
    """The gradient of a loss on a batch of 16 at T = 4, alpha = 0.9."""
    logits = student_logits[:16].detach().requires_grad_()
    return torch.autograd.grad(loss(logits, teacher_logits[:16].clone(), digits.labels[:16], 4, 0.9), logits)[0]


right_gradient = gradient_of(kd_loss)
compared = {"your kd_loss": kd_loss, **wrong_losses}
bar = ProgressBar("14 losses, 5 students each")
wrong_scores = distill.compare_losses(digits, teacher, seeds[:5], compared, setting=few, progress=bar)
passing = 0
for name, loss in compared.items():
    gain = wrong_scores.gain(name, over="labels only").mean
    error = float((gradient_of(loss) - right_gradient).norm() / right_gradient.norm())
    passing += gain > 3 and name in wrong_losses
    print(f"{name:30} {wrong_scores.mean(name):6.1%} right, {gain:+6.1f} points, gradient off by {error:7.1%}")

# %%
lab.reconcile("wrong losses that pass a test by accuracy", passing)

# %% [markdown]
# **Where it comes from.** Adam divides every gradient by its own size, so a wrong scale hardly shows. Networks are
# robust, and a student that learns *something* from a teacher gains. Published code has had such losses for years:
# `reduction='mean'` in [DeiT](https://github.com/facebookresearch/deit/issues/61), kept on purpose, and no T² in the
# Keras example. A loss is graded by its value and its gradient.
#
# ## Where it does not help
#
# Now give the student all 1,000 images with their labels. The teacher has seen nothing more. How many points does it
# add to a student of 16 units?

# %%
### BEGIN SOLUTION
all_labels_guess = 1
### END SOLUTION
lab.predict("gain with all labels", all_labels_guess, "points")

# %%
all_scores = distill.all_labels(digits, teacher, seeds, kd_loss, many, ProgressBar("20 students"))
all_gain = all_scores.gain("distilled", over="labels only")
print(all_gain)
lab.reconcile("gain with all labels", all_gain.mean)

# %% [markdown]
# The same for other numbers of labels and other students, in about ten seconds. Each dot is a seed.

# %%
from labkit.widgets.gains import gains
from labkit.widgets.still import show

bar = ProgressBar("20 labels a class")
twenty_scores = distill.few_labels(digits, teacher, seeds, kd_loss, 20, few.shorter(2), progress=bar)
rows = {
    "5 labels a class, 16 units": few_gain.points,
    "20 labels a class, 16 units": twenty_scores.gain("distilled", over="labels only").points,
    "all labels, 16 units": all_gain.points,
}
for units in (8, 32):
    bar = ProgressBar(f"all labels, {units} units")
    scores = distill.all_labels(digits, teacher, seeds, kd_loss, replace(many, hidden=(units,)), bar)
    rows[f"all labels, {units} units"] = scores.gain("distilled", over="labels only").points
show(*gains(rows))

# %% [markdown]
# **Where it comes from.** The student has the images that made the teacher good; there is little left to be told. The
# tiny student is limited by its size, and no teacher makes it larger. Say which case you have before you distil.
#
# ## Controls
#
# Perhaps any softening of the labels would do. Three controls with the 50 images: **label smoothing** keeps a share for
# all classes alike; **permuted** teachers are as soft as before, but their wrong classes are shuffled, image by image;
# and T = 1 leaves the knowledge in the dark. Which of them do you expect to reach T = 4? Eighty students are trained,
# side by side, in a few seconds.

# %%
bar = ProgressBar("8 settings, one student a seed each")
controlled = distill.controls(digits, teacher, seeds, kd_loss, setting=few, progress=bar)
print(controlled)
print()
for control in ("labels, smoothed by 0.3", "teacher, wrong classes permuted", "teacher, T = 1"):
    print(controlled.gain("teacher, T = 4", over=control))

# %% [markdown]
# **Where it comes from.** Softness alone gains little or nothing. What helps is *which* classes the teacher finds
# similar, and the temperature has to be high enough to show it. How high hardly matters beyond that.
#
# ## A class that the student never sees
#
# Take every 3 out of the student's images. The teacher has seen threes, the student never. It learns from the teacher
# alone, at T = 4. Of the threes among the test images, which share does it recognise? (Again a few seconds.)

# %%
### BEGIN SOLUTION
recall_guess = 20
### END SOLUTION
lab.predict("recall on a class never seen", recall_guess, "%")

# %%
settings = {
    "labels only": replace(unseen, alpha=0.0),
    **{f"teacher alone, T = {t}": replace(unseen, alpha=1.0, temperature=t) for t in (1, 4, 8)},
    "T = 8, a tenth for the labels": replace(unseen, alpha=0.9, temperature=8),
    "the same, without T²": replace(unseen, alpha=0.9, temperature=8),
}
losses = {**dict.fromkeys(settings, kd_loss), "the same, without T²": wrong_losses["no T²"]}
bar = ProgressBar("6 settings, 5 students each")
recalls = distill.unseen_class(digits, teacher, seeds[:5], settings, losses, progress=bar)
print(recalls)
lab.reconcile("recall on a class never seen", 100 * recalls.mean("teacher alone, T = 4"))

# %% [markdown]
# **Where it comes from.** A 9 that looks a little like a 3 carries news of what a 3 is. Hinton, Vinyals and Dean saw
# the same on MNIST ([section 3](https://arxiv.org/abs/1503.02531)). The last two rows show T² at work in a result: as
# soon as labels are mixed in, a soft term without it is too weak against them, and the labels say that there are no
# threes.
#
# ## Images without labels
#
# A teacher can be asked about any image. Give the student all 1,000 images and not a single label. How many points
# more is that than the 50 images with both, label and teacher?

# %%
### BEGIN SOLUTION
unlabelled_guess = 3
### END SOLUTION
lab.predict("gain of 1,000 images without labels over 50 with both", unlabelled_guess, "points")

# %%
bar = ProgressBar("30 students")
unlabelled = distill.unlabelled(digits, teacher, seeds, kd_loss, few=few, many=many, progress=bar)
unlabelled_gain = unlabelled.gain("distilled, 1,000 images and no label", over="distilled")
print(unlabelled)
print(unlabelled_gain)
lab.reconcile("gain of 1,000 images without labels over 50 with both", unlabelled_gain.mean)

# %% [markdown]
# **Where it comes from.** To the teacher every image is a question, with or without a label. In practice this is where
# distillation is used most: labels are dear, images and a teacher are at hand.
#
# ## Hints
#
# A teacher has more to show than its answers. FitNets ([Romero et al. 2014](https://arxiv.org/abs/1412.6550)) train a
# thin, deep student in two stages. First its middle layer learns to predict a layer of the teacher, the **hint**,
# through a **regressor** that bridges the different widths and is thrown away afterwards. Then comes distillation.

# %%
lab.card("hint_loss")

# %% [markdown]
# **Shapes.** Features of student and teacher: (B, D) and (B, F), or (B, D, H, W) and (B, F, H, W) → a scalar tensor.
# `regressor` is a module from D to F.

# %%
def hint_loss(student_features, teacher_features, regressor):
    """½·‖teacher's features - regressor(student's features)‖², the mean over the batch (FitNets, equation 3).

    >>> hint_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 6.0]]), torch.nn.Identity())
    tensor(12.5000)
    """
    ### BEGIN SOLUTION
    gap = regressor(student_features) - teacher_features.detach()
    return gap.square().flatten(start_dim=1).sum(dim=1).mean() / 2
    ### END SOLUTION

# %%
lab.check(hint_loss)

# %% [markdown]
# The student is 64-16-16-16-10, its hint the 256 features before the teacher's last layer. No label is used in the first
# stage, so it can take all 1,000 images, or only the 50 with labels. This is the longest cell: about a quarter of a
# minute on two cores.

# %%
hint_schedule = distill.HINT_SCHEDULE.shorter(effort)
hints = distill.hints(
    digits, teacher, seeds[:6], kd_loss, hint_loss, setting=hinted, hint_schedule=hint_schedule,
    progress=ProgressBar("hints, then 5 settings"),
)  # fmt: skip
print(hints)
print(hints.gain("hints on all images, distilled", over="distilled"))
print(hints.gain("hints on the labelled images, distilled", over="distilled"))
print(hints.gain("hints on all images, distilled", over="hints on the labelled images, distilled"))

# %% [markdown]
# **Where it comes from.** The last line is the part that comes from images which have no label, the line above it the
# part that comes from the hint itself. A comparison that forgets to hold the images equal gives the loss the credit for
# the data.
#
# ## Down the deploy path
#
# The student that learns from 1,000 images without labels goes where labs 02 to 04 lead: to ONNX, through
# simplification, to a TensorRT plan. It has a small part of the teacher's parameters. How many times faster does it
# answer **one** image in ONNX Runtime?

# %%
### BEGIN SOLUTION
speed_guess = 18
### END SOLUTION
lab.predict("speed of the student for one image, against the teacher's", speed_guess, "times")

# %% [markdown]
# Plans are built ahead of time, with no GPU; the four of them take a few seconds. Running one needs a GPU, so the
# plans' own speed is not shown here.

# %%
import tempfile
from pathlib import Path

import onnx
from torch.utils.flop_counter import FlopCounterMode

from labkit.measure import compare
from labkit.onnx_export import export_onnx, max_error, open_session
from labkit.onnx_simplify import num_nodes, simplify
from labkit.tensorrt import TensorrtMissing, build_plan

student = distill.make_student(seed=SEED)
distill.train_student(student, digits.images, None, teacher_logits, alpha=1.0, loss=kd_loss, schedule=many.schedule)
models = {"teacher": teacher, "student": student}
profile = {"images": ((1, 1, 8, 8), (1, 1, 8, 8), (512, 1, 8, 8))}  # smallest, usual, largest batch


def num_flops(model):
    """Floating-point operations for one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(digits.test_images[:1])
    return counter.get_total_flops()


def plan_size(path, precision):
    """Size of the plan, or why there is none here."""
    try:
        return f"{len(build_plan(path, profile, precision=precision)) / 1e3:.1f} kB"
    except TensorrtMissing:
        return "no TensorRT here"


sessions, rows = {}, {}
with tempfile.TemporaryDirectory() as folder:
    for name, model in models.items():
        path, simple = Path(folder) / f"{name}.onnx", Path(folder) / f"{name}-simple.onnx"
        export_onnx(model, digits.test_images[:2], path, dynamic={"images": {0: "batch"}})
        graph, simpler = onnx.load(path), simplify(onnx.load(path))
        onnx.save(simpler, simple)
        session = sessions[name] = open_session(simple, "cpu", num_threads=1)
        (answers,) = session.run(None, {"images": digits.test_images.numpy()})
        rows[name] = {
            "parameters": f"{distill.num_parameters(model):,}",
            "FLOP for one image": f"{num_flops(model):,}",
            "nodes, exported": num_nodes(graph),
            "nodes, simplified": num_nodes(simpler),
            "ONNX file": f"{simple.stat().st_size / 1e3:.1f} kB",
            "TensorRT plan, fp32": plan_size(simple, "fp32"),
            "TensorRT plan, fp16": plan_size(simple, "fp16"),
            "test images right": f"{distill.share_right(torch.from_numpy(answers), digits.test_labels):.1%}",
            "off from PyTorch by": f"{max_error(model, simple, digits.test_images):.0e}",
        }

# %%
for batch in (1, 512):
    inputs = {"images": digits.test_images[:batch].numpy()}
    timings = compare({name: lambda s=session: s.run(None, inputs) for name, session in sessions.items()})
    for name in models:
        row, timing = rows[name], timings[name]
        row[f"time for {batch}, median"] = f"{1e3 * timing.median_ms:.0f} µs"
        row[f"  of {batch}, from - to"] = f"{1e3 * timing.min_ms:.0f}-{1e3 * timing.max_ms:.0f} µs"
        row[f"times as fast, {batch} at once"] = f"{1 / timings.ratios[name]:.1f}"
    if batch == 1:
        speed_for_one = 1 / timings.ratios["student"]

print(f"{'':26} {'teacher':>16} {'student':>16}")
for quantity, value in rows["student"].items():
    print(f"{quantity:26} {rows['teacher'][quantity]:>16} {value:>16}")
lab.reconcile("speed of the student for one image, against the teacher's", speed_for_one)

# %% [markdown]
# **Where it comes from.** One small image costs little more than the call itself, whatever the network. With many
# images at once the arithmetic shows: compare both factors with that of the parameters and that of the FLOP. Each
# weight of a convolution is used at many places, so parameters are a poor guide to time. There is nothing to simplify in graphs as plain as these. A plan is
# more than weights: it holds compiled kernels, and in a network this small they are most of it. Half the bytes for
# each weight then need not make a smaller plan.
#
# ## What this leaves out
#
# Digits of 8 by 8 show effects in seconds that take days elsewhere, and the gains depend on the task. Real students are
# convolutional or transformers, teachers are ensembles, and images are augmented, so that a teacher is asked in every
# step and its answers cannot be kept. Language models are distilled on text that the teacher or the student writes.
# Ten seeds with one teacher say nothing about other teachers: a paper would vary those too.

# %%
lab.progress()
