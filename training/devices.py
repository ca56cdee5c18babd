"""Which devices a fit runs on."""

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import keras


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
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
