import multiprocessing
import resource
import sys

import numpy as np
import pytest

from worker_service.limits import keep_memory


def faults_of_an_image(_):
    """Pages that the kernel had to give for the second of two pictures of the same size."""
    np.ones(24 * 1024**2, dtype=np.uint8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(24 * 1024**2, dtype=np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told")
def test_what_one_image_has_freed_is_there_for_the_next():
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as usual, context.Pool(1, initializer=keep_memory) as keeping:
        [without], [faults] = usual.map(faults_of_an_image, [0]), keeping.map(faults_of_an_image, [0])

    assert faults < without / 10
