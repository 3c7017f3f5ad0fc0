"""The cost estimate in words."""

from __future__ import annotations

from squeezebench.pipeline.cost.estimate import Costs


def words(costs: Costs) -> list[str]:
    """The lines that `squeezebench plan` prints below its first one."""
    d = costs.as_dict()
    rows = [
        ("training", f"{d['gradient_steps']:,} gradient steps, {_short(d['training_flops'])}FLOP"),
        ("on CPUs", f"{_hours(d['cpu_core_hours'])} core hours; {costs.cpu.about}"),
        ("or on GPUs", f"{_hours(d['gpu_hours'])} GPU hours; {costs.gpu.about}"),
        ("memory", f"about {_short(d['peak_memory_bytes'])}B for each job"),
        ("disk", ", ".join(f"{name.replace('_', ' ')} {_short(size)}B" for name, size in d["disk_bytes"].items())),
    ]
    for name, task in costs.tasks.items():
        if (p := task.prepare) is not None:
            cores = f"decoding {_hours(p.decode_core_hours)} and flow {_hours(p.flow_core_hours)} core hours"
            network = f"{_hours(p.backbone_core_hours)} core hours or {_hours(p.backbone_gpu_hours)} GPU hours"
            rows.append((f"prepare {name}", f"{p.clips:,} clips: {cores}, backbone {network}"))
    rows += [("not counted", reason) for reason in costs.unknown]
    width = max(len(name) for name, _ in rows)
    return [f"{name:{width}}  {text}" for name, text in rows]


def _short(number: float) -> str:
    """Three digits and a prefix: 1.23 M."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if number < 999.5:
            return f"{number:.3g} {prefix}"
        number /= 1000
    return f"{number:.3g} E"


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.2g}"
