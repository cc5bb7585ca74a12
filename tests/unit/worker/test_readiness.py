"""What `atelier-worker check` decides from what it sees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import IdentityMissing, RedisUnavailable, StorageUnavailable, WeightsInvalid
from shared.options import Method
from shared.settings import Settings
from shared.storage.store import Room
from worker.devices import CPU, Device, UsableGpus
from worker.engine.weights.source import ImagenetSource, WeightsChoice
from worker.memory import Memory
from worker.readiness import (
    Finding,
    Level,
    TensorFlowFacts,
    could_work,
    judge_clock,
    judge_cuda,
    judge_disk,
    judge_driver,
    judge_identity,
    judge_memory,
    judge_method,
    judge_redis,
    judge_storage,
    judge_weights,
    nearest_folder,
    read_messages,
    served_methods,
    summary,
)

GPU = Device(0, "NVIDIA H100")
SOURCE = ImagenetSource("https://h/vgg19.h5", "0" * 32, Path("/cache"))
LOADED = TensorFlowFacts("2.21.0", "12.5", 1)


#: What TensorFlow 2.21 said on machines with an NVIDIA H200.
NO_CUSOLVER = """\
I0000 00:00:1795719491.319918    1308 dso_loader.cc:133] Successfully opened dynamic library libcublasLt.so.12
I0000 00:00:1795719491.323266    1308 dso_loader.cc:144] Could not load dynamic library 'libcusolver.so.11'; \
dlerror: libcusolver.so.11: cannot open shared object file: No such file or directory; LD_LIBRARY_PATH:
W0000 00:00:1795719491.329026    1308 gpu_device.cc:2365] Cannot dlopen some GPU libraries. Please make sure \
the missing libraries mentioned above are installed properly if you would like to use GPU.
Skipping registering GPU devices...
"""
NO_DEVICE = """\
I0000 00:00:1795719748.052474    4115 port.cc:153] oneDNN custom operations are on.
E0000 00:00:1795719748.152474    4115 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: \
Failed call to cuInit: CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected
"""


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", ""),
        ("I0000 port.cc:153] oneDNN custom operations are on.\n", ""),
        (NO_CUSOLVER, "there is no libcusolver.so.11"),
        (
            NO_CUSOLVER.replace(
                "cannot open shared object file: No such file or directory", "file too short"
            ),
            "libcusolver.so.11 cannot be loaded (libcusolver.so.11: file too short)",
        ),
        (
            NO_DEVICE,
            (
                "failed call to cuInit: INTERNAL: CUDA error: Failed call to cuInit: CUDA_ERROR_NO_DEVICE: "
                "no CUDA-capable device is detected"
            ),
        ),
    ],
)
def test_why_tensorflow_sees_no_gpu_is_read_from_what_it_says(said, why):
    assert read_messages(said) == why


def test_a_gpu_that_a_setting_hides_is_not_said_to_be_missing():
    hidden = UsableGpus(hidden="CUDA_VISIBLE_DEVICES ('-1') hides cuda:0 (NVIDIA H200)")
    found = judge_driver(hidden, "auto", None)
    assert found.level is Level.NOTE
    assert found.said == "CUDA_VISIBLE_DEVICES ('-1') hides cuda:0 (NVIDIA H200), so jobs run on the CPU"
    assert "CUDA_VISIBLE_DEVICES" in found.todo
    assert judge_driver(hidden, "none", None).level is Level.OK


@pytest.mark.parametrize(
    ("usable", "wanted", "refusal", "level", "words"),
    [
        (UsableGpus(), "auto", None, Level.OK, "no NVIDIA GPU"),
        (UsableGpus([GPU]), "auto", None, Level.OK, "cuda:0 (NVIDIA H100)"),
        (UsableGpus([GPU]), "none", None, Level.OK, "--gpus none"),
        (UsableGpus(why_not="mend it"), "auto", None, Level.NOTE, "on the CPU"),
        (
            UsableGpus(why_not="mend it"),
            "all",
            "--gpus is 'all', but mend it",
            Level.MISSING,
            "--gpus is 'all'",
        ),
    ],
)
def test_driver(usable, wanted, refusal, level, words):
    found = judge_driver(usable, wanted, refusal)
    assert found.level is level
    assert words in found.said
    assert ("mend it" in found.todo) == (level is not Level.OK)


@pytest.mark.parametrize(
    ("facts", "devices", "level", "words"),
    [
        (LOADED, [CPU], Level.OK, "CUDA is not needed"),
        (LOADED, [GPU], Level.OK, "with CUDA 12.5 sees 1 of 1"),
        (TensorFlowFacts("2.21.0", "12.5", 0, messages="no libcudnn.so.9"), [GPU], Level.MISSING, "libcudnn"),
        (LOADED, [GPU, Device(1, "L4")], Level.MISSING, "1 of 2"),
        (TensorFlowFacts(fault="No module named 'tensorflow'"), [CPU], Level.MISSING, "No module"),
    ],
)
def test_cuda(facts, devices, level, words):
    found = judge_cuda(facts, devices)
    assert found.level is level
    assert words in found.said


@pytest.mark.parametrize(
    ("setting", "seen", "level", "words"),
    [
        ("untrained", {"found": WeightsChoice("untrained")}, Level.OK, "untrained"),
        (
            "imagenet",
            {"found": WeightsChoice("imagenet", Path("/cache/vgg19.h5"))},
            Level.OK,
            "/cache/vgg19.h5",
        ),
        ("imagenet", {"found": None}, Level.OK, "downloads it"),
        ("imagenet", {"found": None, "download_fault": "no route"}, Level.MISSING, "no route"),
        ("auto", {"found": None, "download_fault": "no route"}, Level.NOTE, "untrained"),
        ("imagenet", {"found": None, "cache_room": Room(10, 9)}, Level.MISSING, "9 bytes of room"),
        (
            "/x.h5",
            {"found": None, "error": WeightsInvalid("x.h5 holds nothing")},
            Level.MISSING,
            "holds nothing",
        ),
    ],
)
def test_weights(setting, seen, level, words):
    found = judge_weights(setting, SOURCE, **seen)
    assert found.level is level
    assert words in found.said
    if "download_fault" in seen:
        assert "atelier-worker weights import" in found.todo


@pytest.mark.parametrize(
    ("ahead_seconds", "level", "words"),
    [
        (None, Level.NOTE, "cannot be compared"),
        (0.01, Level.OK, "0.0 s ahead of"),
        (-1.94, Level.OK, "1.9 s behind"),
        (2.0, Level.NOTE, "2.0 s ahead of"),
        (-300, Level.MISSING, "300.0 s behind"),
    ],
)
def test_clock(ahead_seconds, level, words):
    found = judge_clock(ahead_seconds)
    assert found.level is level
    assert words in found.said


def test_services():
    assert judge_redis(None, is_tls=True).level is Level.OK
    assert judge_redis(RedisUnavailable("no answer"), is_tls=False).level is Level.MISSING
    assert "was not written" in judge_storage("file:///s", None, was_written=False).said
    assert judge_storage("file:///s", StorageUnavailable("gone"), was_written=False).level is Level.MISSING
    assert judge_identity("abc", None).said.endswith("installation abc")
    assert judge_identity(None, None).level is Level.OK
    assert judge_identity(None, IdentityMissing()).level is Level.MISSING


def test_disk():
    settings = Settings(min_free_bytes=100)
    assert judge_disk(None, settings).level is Level.NOTE
    assert judge_disk(Room(1000, 100), settings).level is Level.OK
    found = judge_disk(Room(1000, 99), settings)
    assert found.level is Level.MISSING
    assert "99 of 1000 bytes" in found.said
    assert "100" in found.said


def test_memory():
    assert judge_memory([(CPU, Memory())]).said == "cpu: not known"
    assert judge_memory([(CPU, Memory(16 * 10**9, 2 * 10**9))]).level is Level.OK
    found = judge_memory([(GPU, Memory(80 * 10**9, 2 * 10**9)), (CPU, Memory(4 * 10**9, 3 * 10**9))])
    assert found.level is Level.NOTE
    assert "cpu: 1.0 of 4.0 GB" in found.said
    card = Memory(6 * 10**9, 0)
    assert judge_memory([(GPU, card)]).level is Level.OK
    assert judge_memory([(replace(GPU, nodes=3), card)]).level is Level.NOTE


def test_it_could_work_while_nothing_is_missing():
    fit = [judge_clock(3.0), judge_redis(None, is_tls=False)]
    assert could_work(fit)
    methods = [Method.GATYS, Method.FAST]
    assert summary(fit, [GPU, CPU], ["imagenet", "magenta"], methods) == (
        "This machine would serve jobs of 'gatys' and 'fast' on cuda:0 (NVIDIA H100), cpu, "
        "with the weights 'imagenet' and 'magenta'."
    )
    shared = summary(fit, [replace(GPU, nodes=3)], ["imagenet"], [Method.GATYS])
    assert "jobs of 'gatys' on cuda:0 (NVIDIA H100) with 3 nodes, with the weights" in shared
    unfit = [*fit, judge_identity(None, IdentityMissing()), judge_clock(-99)]
    assert not could_work(unfit)
    assert (
        summary(unfit, [], ["imagenet"], methods)
        == "This machine cannot serve jobs; see to: identity, clock."
    )


@pytest.mark.parametrize(
    ("gatys", "fast", "weights", "served", "is_fit"),
    [
        (None, None, Level.OK, [Method.GATYS, Method.FAST], True),
        (None, "no model", Level.OK, [Method.GATYS], True),
        ("no TensorFlow", None, Level.OK, [Method.FAST], True),
        # Its packages are there, so a worker would begin with it, and end for want of its weights.
        (None, None, Level.MISSING, [Method.FAST], False),
        ("no TensorFlow", "no model", Level.OK, [], False),
    ],
)
def test_the_methods_that_are_served(gatys, fast, weights, served, is_fit):
    is_needed = gatys is not None and fast is not None
    findings = [
        judge_method(Method.GATYS, gatys, is_needed=is_needed),
        judge_method(Method.FAST, fast, is_needed=is_needed),
        Finding("weights", weights, "weights"),
    ]
    assert served_methods(findings) == served
    assert could_work(findings) == is_fit


def test_the_folder_that_a_file_would_lie_in(tmp_path: Path):
    assert nearest_folder(tmp_path / "a" / "b") == tmp_path
    assert nearest_folder(tmp_path) == tmp_path
