"""How torch's threads wait for each other.

OpenMP's threads spin while they wait, for milliseconds: in a pod whose encoders want the same cores, and whose cores
are counted, that is time taken from them. See libgomp's manual, "OMP_WAIT_POLICY".
"""

import os


def sleep_while_waiting() -> None:
    """Have threads sleep instead, unless the environment says otherwise; only before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
