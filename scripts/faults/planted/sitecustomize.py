"""Read by Python when a child process starts: plants a fault that cannot be had from outside the process.

``OPSNET_FAULT_NAN=N``: the training loss of step N is NaN, once per run folder.
``OPSNET_FAULT_CLOCK=FILE``: as long as FILE exists, the wall clock (``time.time``) is a day behind; monotonic clocks
are not changed, as on a machine whose clock is set.
"""

import importlib.abc
import importlib.util
import os
import sys
import time

DAY = 86_400


class _AfterImport(importlib.abc.MetaPathFinder):
    """Calls ``change`` with a module once it is imported."""

    def __init__(self, name, change):
        self.name, self.change = name, change

    def find_spec(self, fullname, path=None, target=None):
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            self.change(module)

        spec.loader.exec_module = exec_module
        return spec


def _plant_nan(step):
    def change(module):
        plain = module.OPSNetModule.training_step

        def training_step(self, *args, **kwargs):
            loss = plain(self, *args, **kwargs)
            return loss * float("nan") if self.trainer.global_step == step else loss

        module.OPSNetModule.training_step = training_step

    sys.meta_path.insert(0, _AfterImport("opsnet.training.module", change))


def _plant_clock(path):
    now, now_ns = time.time, time.time_ns
    time.time = lambda: now() - (DAY if os.path.exists(path) else 0)
    time.time_ns = lambda: now_ns() - (DAY * 10**9 if os.path.exists(path) else 0)


if "OPSNET_FAULT_NAN" in os.environ:
    _plant_nan(int(os.environ["OPSNET_FAULT_NAN"]))
if "OPSNET_FAULT_CLOCK" in os.environ:
    _plant_clock(os.environ["OPSNET_FAULT_CLOCK"])
