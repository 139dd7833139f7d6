"""Run the judge: see perf.lip_sync."""

import sys

from perf.lip_sync import main

sys.exit(main())
