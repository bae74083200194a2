"""What `ostiary serve` prints works when it is pasted."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest

KEY = "a-bootstrap-key-for-scripts"


@contextmanager
def serving(home, **settings):
    """Run `ostiary serve` as a user would; yield what it prints and its environment."""
    environment = {**os.environ, "OSTIARY_HOME": str(home), "OSTIARY_PORT": "0", **settings}
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", "serve"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        printed = ""
        while "Ctrl-C" not in printed:
            line = process.stdout.readline()
            assert line, f"it ended with status {process.wait()}"
            printed += line
        yield printed, environment
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize(
    "settings", [{}, {"OSTIARY_BOOTSTRAP_KEY": KEY}], ids=["first key", "bootstrap key"]
)
def test_both_lines_work_when_pasted(tmp_path, settings):
    with serving(tmp_path, **settings) as (printed, environment):
        curl = re.search(r"  (curl .*\n.*)", printed).group(1)
        python = re.search(r"client:\n\n(.*?)\n\nStop", printed, re.DOTALL).group(1)
        program = "\n".join(line.removeprefix("  ") for line in python.splitlines())

        asked = subprocess.run(["/bin/bash", "-c", curl], env=environment, capture_output=True)
        ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)

    assert b"Refunds reach the original payment method" in asked.stdout
    assert ran.stdout.startswith(b"Refunds reach the original payment method")
    assert KEY not in printed
