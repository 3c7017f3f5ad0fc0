"""Snakemake that asks for its Slurm jobs every second; the executor alone waits 40 s, then 10 s longer each time."""

import asyncio
import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import common_settings
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def _second(self) -> None:
    await asyncio.sleep(1)


common_settings.init_seconds_before_status_checks = 1
RemoteExecutor.sleep = _second
sys.exit(main())
