"""One core and one thread for a process that is measured."""

import os

ALONE = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
"""What the environment of such a process says, from its start on."""


def keep_to_one_core() -> None:
    """Keep this process to the last core it may use, and to one thread there."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    from models import device

    if device.choose_backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
