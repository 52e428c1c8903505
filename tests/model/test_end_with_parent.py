"""A process ends with the one that has started it, also if nobody had time to end it."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys, time
from multiprocessing import get_context

def child(connection):
    from model.end_with_parent import end_with_parent
    end_with_parent()
    end_with_parent()
    connection.send("ready")
    time.sleep(600)

if __name__ == "__main__":
    ours, theirs = get_context(sys.argv[1]).Pipe()
    process = get_context(sys.argv[1]).Process(target=child, args=(theirs,))
    process.start()
    print(ours.recv(), flush=True)
    time.sleep(600)
"""


def test_a_killed_parent_leaves_no_process(tmp_path: Path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    for method in ("spawn", "fork"):
        command = [sys.executable, str(script), method]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None and parent.stdout.readline() == "ready\n"
            parent.kill()
            # The child has the same output, so its end comes only when both are gone.
            assert parent.stdout.read() == ""


def test_a_process_without_such_a_parent_goes_on():
    code = "from model.end_with_parent import end_with_parent; end_with_parent(); print('here')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"here\n"
