"""Run a command and tell the peak of its resident memory in KiB, on the last line. Usage: witness.py COMMAND...

A process inherits the peak of the one that started it, so this small one starts the command.
"""

import resource
import subprocess
import sys

status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
