"""Which devices a fit runs on, and what they compute in."""

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import keras

from training.config import TrainConfig

_BFLOAT16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""What /proc/cpuinfo calls arithmetic in bfloat16, on x86-64 and on Arm."""


def use_all_devices() -> tuple[AbstractContextManager[Any], int]:
    """Return the scope in which to build and compile a model, and the number of devices it uses.

    On TensorFlow with several GPUs (or several logical CPUs), each takes its part of every batch.
    One device otherwise. keras.distribution does not work on TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        return nullcontext(), 1
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) == 1:
        return nullcontext(), 1
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices])
    return strategy.scope(), len(devices)


def make_deterministic() -> None:
    """Let the same seed on the same machine give the same weights, bit for bit."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def without_slow_bfloat16(config: TrainConfig, cpuinfo: str) -> TrainConfig:
    """Return the config in float32, and say so, where a CPU fits that has no bfloat16 arithmetic.

    `cpuinfo`: of `read_cpuinfo`. On a processor with AVX2 alone a step of profile `demo` took 7.1 s
    in bfloat16 and 1.5 s in float32, by the progress bar of `train`.
    """
    if config.precision == "float32" or _list_gpus() or _has_bfloat16(cpuinfo):
        return config
    print("This processor has no bfloat16 arithmetic, so the fit is in float32.")
    return replace(config, precision="float32")


def _has_bfloat16(cpuinfo: str) -> bool:
    """Return whether a processor computes in bfloat16; one without flags is taken to."""
    flags = [
        line.partition(":")[2].split()
        for line in cpuinfo.splitlines()
        if line.startswith(("flags", "Features"))
    ]
    return not flags or not _BFLOAT16_FLAGS.isdisjoint(flags[0])


def describe_hardware() -> dict[str, Any]:
    """Return processor, number of its cores and names of the GPUs."""
    return {
        "processor": _read_processor(),
        "cores": len(os.sched_getaffinity(0)),
        "gpus": _list_gpus(),
    }


def _list_gpus() -> list[str]:
    if keras.backend.backend() == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform != "cpu"]
    import tensorflow as tf

    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return [str(one.get("device_name", "unknown")) for one in details]


def _read_processor() -> str:
    lines = read_cpuinfo().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def read_cpuinfo() -> str:
    """Return what Linux tells of the processor in /proc/cpuinfo, nothing on other systems."""
    try:
        return Path("/proc/cpuinfo").read_text()
    except OSError:
        return ""
