import socket
import subprocess
import sys

SHOUT = """
from deploy import output
output.make_reopenable()
for descriptor in (1, 2):
    with open(f"/dev/fd/{descriptor}", "ab", buffering=0) as again:
        again.write(b"heard\\n")
"""


def test_output_to_a_socket_can_be_opened_again():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        end = theirs.fileno()
        subprocess.run([sys.executable, "-c", SHOUT], stdout=end, stderr=end, check=True)
        theirs.close()
        assert b"".join(iter(lambda: ours.recv(64), b"")) == b"heard\nheard\n"


def test_output_to_a_file_stays_in_the_file(tmp_path):
    with (tmp_path / "log").open("wb") as log:
        subprocess.run([sys.executable, "-c", SHOUT], stdout=log, stderr=log, check=True)
    assert (tmp_path / "log").read_bytes() == b"heard\nheard\n"
