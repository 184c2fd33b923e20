"""The banks of PlanCache: one right cache in small methods, each wrong one with one of them spoiled."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from labkit.course.exercises.tensorrt_build.plan_cache import plan_cache


class Sealed:
    """A right cache, for others to spoil: one file for a plan, its first line sealing key and plan."""

    def __init__(self, folder, build, key):
        self.folder, self.build, self.key = Path(folder), build, key

    def get_or_build(self, onnx_path, profile, **options):
        key = self.key(onnx_path, profile, **options)
        plan = self.read(key)
        if plan is None:
            plan = self.build(onnx_path, profile, **options)
            self.write(key, plan)
        return plan

    def path(self, key):
        return self.folder / f"{key}.plan"

    def seal(self, key, plan):
        return hashlib.sha256(key.encode() + plan).hexdigest().encode()

    def read(self, key):
        try:
            head, _, plan = self.path(key).read_bytes().partition(b"\n")
        except OSError:
            return None
        return plan if head == self.seal(key, plan) else None

    def write(self, key, plan):
        partial = self.path(key).with_suffix(f".{os.getpid()}.tmp")
        self.store(partial, self.seal(key, plan) + b"\n" + plan)
        os.replace(partial, self.path(key))

    def store(self, path, content):
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


@plan_cache.wrong("memory only", "a dict ends with its process: the folder is what the next one finds.")
class MemoryOnly(Sealed):
    def __init__(self, folder, build, key):
        super().__init__(folder, build, key)
        self.plans = {}

    def read(self, key):
        return self.plans.get(key)

    def write(self, key, plan):
        self.plans[key] = plan


@plan_cache.wrong("never read", "every request is built again: look into the folder first.")
class NeverRead(Sealed):
    def read(self, key):
        return None


@plan_cache.wrong("believed unchecked", "a file of the right name can be cut off or foreign: check its bytes.")
class BelievedUnchecked(Sealed):
    def read(self, key):
        try:
            return self.path(key).read_bytes().partition(b"\n")[2]
        except OSError:
            return None


@plan_cache.wrong("length only", "a changed byte leaves the length as it was: keep a checksum.")
class LengthOnly(Sealed):
    def seal(self, key, plan):
        return f"{key} {len(plan)}".encode()


@plan_cache.wrong("no empty files, that is all", "a plan that is cut off is not empty: keep a checksum.")
class NotEmpty(Sealed):
    def read(self, key):
        try:
            return self.path(key).read_bytes().partition(b"\n")[2] or None
        except OSError:
            return None


@plan_cache.wrong("checksum without the key", "a whole plan of another request has a right checksum: seal the key too.")
class ChecksumWithoutKey(Sealed):
    def seal(self, key, plan):
        return hashlib.sha256(plan).hexdigest().encode()


@plan_cache.wrong("damage raises", "a damaged file is a miss: the program that needs the plan must go on.")
class DamageRaises(Sealed):
    def read(self, key):
        if not self.path(key).exists():
            return None
        head, _, plan = self.path(key).read_bytes().partition(b"\n")
        if head != self.seal(key, plan):
            raise ValueError(f"{self.path(key)} is damaged")
        return plan


@plan_cache.wrong("damage never mended", "a damaged file that stays costs a build each time: write over it.")
class DamageNeverMended(Sealed):
    def write(self, key, plan):
        if not self.path(key).exists():
            super().write(key, plan)


@plan_cache.wrong("written in place", "a crash leaves half a plan under the right name: rename at the end.")
class WrittenInPlace(Sealed):
    def write(self, key, plan):
        self.store(self.path(key), self.seal(key, plan) + b"\n" + plan)


@plan_cache.wrong("temporary file elsewhere", "a rename is only atomic within one disk: write beside the final name.")
class TemporaryElsewhere(Sealed):
    def write(self, key, plan):
        handle, partial = tempfile.mkstemp()
        os.close(handle)
        self.store(partial, self.seal(key, plan) + b"\n" + plan)
        shutil.move(partial, self.path(key))


@plan_cache.wrong("no fsync", "the rename can reach the disk before the bytes do: os.fsync first.")
class NoFsync(Sealed):
    def store(self, path, content):
        Path(path).write_bytes(content)


@plan_cache.wrong("options not in the key", "precision and targets change the plan: give the options to key, too.")
class OptionsNotInKey(Sealed):
    def get_or_build(self, onnx_path, profile, **options):
        key = self.key(onnx_path, profile)
        plan = self.read(key)
        if plan is None:
            plan = self.build(onnx_path, profile, **options)
            self.write(key, plan)
        return plan


@plan_cache.wrong("options not built", "the builder needs the options as well: pass them on.")
class OptionsNotBuilt(Sealed):
    def get_or_build(self, onnx_path, profile, **options):
        key = self.key(onnx_path, profile, **options)
        plan = self.read(key)
        if plan is None:
            plan = self.build(onnx_path, profile)
            self.write(key, plan)
        return plan


@plan_cache.wrong("named after the model", "one model has many plans: name the file after the key.")
class NamedAfterTheModel(Sealed):
    def get_or_build(self, onnx_path, profile, **options):
        plan = self.read(Path(onnx_path).stem)
        if plan is None:
            plan = self.build(onnx_path, profile, **options)
            self.write(Path(onnx_path).stem, plan)
        return plan


@plan_cache.wrong("failure swallowed", "a failed build has reasons, and only the exception tells them: let it through.")
class FailureSwallowed(Sealed):
    def get_or_build(self, onnx_path, profile, **options):
        try:
            return super().get_or_build(onnx_path, profile, **options)
        except Exception:
            return None


@plan_cache.wrong("file made before the build", "a failed build leaves it behind: build first, then open the file.")
class FileMadeBefore(Sealed):
    def get_or_build(self, onnx_path, profile, **options):
        key = self.key(onnx_path, profile, **options)
        plan = self.read(key)
        if plan is None:
            partial = self.path(key).with_suffix(".tmp")
            with open(partial, "wb") as file:
                plan = self.build(onnx_path, profile, **options)
                file.write(self.seal(key, plan) + b"\n" + plan)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, self.path(key))
        return plan


@plan_cache.right("a sealed file")
class Sealing(Sealed):
    pass


@plan_cache.right("plan and description in two files")
class TwoFiles:
    def __init__(self, folder, build, key):
        self.folder, self.build, self.key = folder, build, key

    def get_or_build(self, onnx_path, profile, **options):
        key = self.key(onnx_path, profile, **options)
        plan_path, note_path = os.path.join(self.folder, key), os.path.join(self.folder, key + ".json")
        try:
            with open(plan_path, "rb") as file:
                plan = file.read()
            with open(note_path) as file:
                note = json.load(file)
            if note == {"key": key, "sha256": hashlib.sha256(plan).hexdigest()}:
                return plan
        except (OSError, ValueError):
            pass
        plan = self.build(onnx_path, profile, **options)
        note = {"key": key, "sha256": hashlib.sha256(plan).hexdigest()}
        self.put(note_path, json.dumps(note).encode())
        self.put(plan_path, plan)
        return plan

    def put(self, path, content):
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(file.name, path)


@plan_cache.right("a folder for each plan, seal at the end, memory in front")
class FolderEach:
    def __init__(self, folder, build, key):
        self.folder, self.build, self.key, self.known = Path(folder), build, key, {}

    def get_or_build(self, onnx_path, profile, **options):
        key = self.key(onnx_path, profile, **options)
        if key not in self.known:
            self.known[key] = self.load(key) or self.fresh(key, self.build(onnx_path, profile, **options))
        return self.known[key]

    def load(self, key):
        path = self.folder / key / "plan"
        if not path.is_file():
            return None
        content = path.read_bytes()
        plan, seal = content[:-64], content[-64:]
        return plan if seal == hashlib.blake2b(plan, key=key[:64].encode()).digest() else None

    def fresh(self, key, plan):
        (self.folder / key).mkdir(exist_ok=True)
        partial = self.folder / key / f"plan-{os.getpid()}"
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(handle, plan + hashlib.blake2b(plan, key=key[:64].encode()).digest())
        os.fsync(handle)
        os.close(handle)
        partial.rename(self.folder / key / "plan")
        return plan
