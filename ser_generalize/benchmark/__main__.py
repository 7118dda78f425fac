"""`python -m ser_generalize.benchmark`, which launchers take."""

import sys

from ser_generalize.benchmark import main
from ser_generalize.command import run_command

if __name__ == "__main__":
    sys.exit(run_command("ser-generalize benchmark", main, sys.argv[1:]))
