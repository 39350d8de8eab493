"""What the tests of faults share with those of brokers and of the classroom: kernels, letters, waiting."""

import sys
from pathlib import Path

for neighbour in ("classroom", "contract", "brokers"):
    sys.path.append(str(Path(__file__).parents[1] / neighbour))
