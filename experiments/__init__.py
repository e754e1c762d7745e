"""Command-line programs."""

import os
import signal
import sys

from experiments import jax_variables

if sys.argv[:1] == ["-m"] or os.path.basename(sys.argv[0]).startswith("ssdkd-"):
    # Of a program that is still importing, Ctrl-C ends it without a traceback; `launch` then listens.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    jax_variables.import_jax()
