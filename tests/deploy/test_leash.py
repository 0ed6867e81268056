import os
import signal
import subprocess
import sys

import pytest

PARENT = """
import subprocess, sys
program = ["sh", "-c", "echo $$; exec sleep 600"]
subprocess.run([sys.executable, "-m", "deploy.leash", *program], close_fds=False)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_a_program_on_the_leash_ends_with_what_started_it():
    held, kept_open = os.pipe()
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, pass_fds=[kept_open])
    os.close(kept_open)
    assert parent.stdout is not None
    program = int(parent.stdout.readline())
    try:
        parent.kill()
        # The pipe ends when the last process that has it does, which is the program.
        assert os.read(held, 1) == b""
    except BaseException:
        os.kill(program, signal.SIGKILL)
        raise
    finally:
        os.close(held)
        parent.communicate()
