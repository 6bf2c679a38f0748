import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from latentlake_airflow.child import Child


class Heard(list):
    """The lines of a child, and a way to wait for one."""

    def __init__(self):
        self.told = threading.Condition()

    def hear(self, pipe, line):
        with self.told:
            self.append((pipe, line))
            self.told.notify_all()

    def wait_for(self, word):
        with self.told:
            assert self.told.wait_for(lambda: any(word in x for _, x in self), 20)
        return next(line for _, line in self if word in line)


def start(program, *, grace=20.0, env=None):
    heard = Heard()
    child = Child(
        [sys.executable, "-c", program],
        env=dict(os.environ) if env is None else env,
        on_line=heard.hear,
        grace=grace,
    )
    return child, heard


def gone(pid, within=10.0):
    end = time.monotonic() + within
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):  # it went between the two
            return True
        time.sleep(0.02)
    return False


FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("grandchild", child.pid, flush=True)
{then}
"""


def test_both_pipes_are_passed_on_and_told_apart():
    child, heard = start("import sys; print('a'); print('é', file=sys.stderr)")

    assert child.wait() == 0
    assert sorted(heard) == [("stderr", "é"), ("stdout", "a")]


def test_a_mebibyte_on_either_pipe_blocks_nobody():
    child, heard = start(
        "import sys\n"
        "for pipe in (sys.stderr, sys.stdout):\n"
        "    for _ in range(1024): print('x' * 1023, file=pipe)\n"
    )

    assert child.wait() == 0
    assert len(heard) == 2048


def test_bytes_that_are_no_text_and_lines_without_an_end_come_through():
    child, heard = start(
        "import sys; sys.stdout.buffer.write(b'\\xff' + b'x' * 100_000)"
    )

    assert child.wait() == 0
    assert sum(len(line) for _, line in heard) == 100_001


@pytest.mark.parametrize("code", [0, 1, 2, 10])
def test_the_exit_code_is_the_commands_own(code):
    child, _ = start(f"raise SystemExit({code})")

    assert child.wait() == code


def test_a_signal_that_ended_the_command_is_told():
    child, _ = start("import os; os.kill(os.getpid(), 9)")

    assert child.wait() == 128 + signal.SIGKILL


def test_stopping_ends_the_grandchildren_too():
    child, heard = start(FAMILY.format(then="time.sleep(600)"))
    grandchild = int(heard.wait_for("grandchild").split()[1])

    child.stop()

    assert child.wait() == 128 + signal.SIGTERM
    assert gone(grandchild)


def test_what_does_not_listen_is_killed_after_the_grace():
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FAMILY
    child, heard = start(deaf.format(then="time.sleep(600)"), grace=0.2)
    grandchild = int(heard.wait_for("grandchild").split()[1])

    child.stop()

    assert child.wait() == 128 + signal.SIGKILL
    assert gone(grandchild)


def test_a_command_may_end_in_its_own_way_when_it_is_stopped():
    child, heard = start(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit('tidied up'))\n"
        "print('ready', flush=True); time.sleep(600)"
    )
    heard.wait_for("ready")

    child.stop()

    assert child.wait() == 1
    assert ("stderr", "tidied up") in heard


def test_what_a_command_leaves_running_ends_with_it():
    child, heard = start(FAMILY.format(then=""))
    grandchild = int(heard.wait_for("grandchild").split()[1])

    assert child.wait() == 0
    assert gone(grandchild)


def test_nothing_outlives_a_task_that_was_killed(tmp_path):
    task = (
        "import os, sys\n"
        "from latentlake_airflow.child import Child\n"
        "program = 'import os, time; print(os.getpid(), flush=True); time.sleep(600)'\n"
        "Child([sys.executable, '-c', program], env=dict(os.environ),\n"
        "      on_line=lambda _, line: print(line, flush=True)).wait()\n"
    )
    dags = os.path.join(os.path.dirname(__file__), "..", "..", "dags")
    parent = subprocess.Popen(
        [sys.executable, "-c", task],
        env=os.environ | {"PYTHONPATH": dags},
        stdout=subprocess.PIPE,
    )
    pid = int(parent.stdout.readline())

    parent.kill()
    parent.wait()

    assert gone(pid)


def test_a_time_limit_in_the_task_leaves_nothing_running():
    child, heard = start(FAMILY.format(then="time.sleep(600)"))
    grandchild = int(heard.wait_for("grandchild").split()[1])

    def too_long(*_):
        raise TimeoutError

    earlier = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(TimeoutError):
            child.wait()
    finally:
        signal.signal(signal.SIGALRM, earlier)

    assert gone(grandchild)


def test_the_environment_is_the_one_given():
    child, heard = start(
        "import os; print(os.environ.get('HOME'), os.environ['A'])", env={"A": "b"}
    )

    assert child.wait() == 0
    assert heard == [("stdout", "None b")]
