"""What compress() reports: sizes, accuracies and latency beside those of the dense network; text and HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from squeezebench.schema.record import Counts, Kept


@dataclass(frozen=True)
class Side:
    """One network. accuracy: part -> top-1, a fraction; latency_ms: batch size -> median of one forward pass."""

    counts: Counts
    bytes: int  # of its parameters and buffers
    accuracy: dict[str, float]
    latency_ms: dict[str, float]


@dataclass(frozen=True)
class Compressed:
    """The outcome of compress(). `compact` is the network that is returned. `dense` is the user's network: as it was
    given if it was trained, else after as many gradient steps as the compact one.

    given: accuracies of the user's network as it was given; None without one. Latency: PyTorch, one thread, the two
    networks interleaved. seconds: of the whole call.
    """

    method: str
    ratio: float  # of recurrent parameters, dense / compact
    dense: Side
    compact: Side
    kept: Kept
    given: dict[str, float] | None
    settings: dict[str, object]
    steps: int  # gradient steps of the compact network, the dense training from which it starts included
    shared_steps: int  # of that dense training; 0: the network was trained already
    seconds: float
    notes: list[str] = field(default_factory=list)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """(what, dense, compact, dense / compact or the difference) as text."""
        dense, compact = self.dense, self.compact
        sizes = [
            ("recurrent parameters", dense.counts.lstm_total, compact.counts.lstm_total),
            ("parameters of the network", dense.counts.model_total, compact.counts.model_total),
            ("bytes", dense.bytes, compact.bytes),
        ]
        rows = [(name, f"{a:,}", f"{b:,}", f"{a / b:.1f}x") for name, a, b in sizes]
        for part, a in dense.accuracy.items():
            b = compact.accuracy[part]
            rows.append((f"{part} accuracy", f"{a:.1%}", f"{b:.1%}", f"{100 * (b - a):+.1f} points"))
        for batch, a in dense.latency_ms.items():
            b = compact.latency_ms[batch]
            rows.append((f"latency, batch {batch}", f"{a:.2f} ms", f"{b:.2f} ms", f"{a / b:.1f}x"))
        return rows

    def sentences(self) -> list[str]:
        """What was kept, how long it took, and what the method notes."""
        kept, (units, of) = self.kept, (" and ".join(map(str, n)) for n in (self.kept.hidden, self.kept.of_hidden))
        lines = [f"kept: {kept.inputs} of {kept.of_inputs} inputs; {units} of {of} units"]
        if self.given is not None:
            shares = ", ".join(f"{part} {share:.1%}" for part, share in self.given.items())
            lines.append(f"the network as it was given: {shares}")
        return [*lines, f"{self._trained_for()}; {self.seconds:.0f} s in all", *self.notes]

    def _trained_for(self) -> str:
        """How long each network of the comparison was trained."""
        if not self.shared_steps:
            return f"dense: as it was given; compact: {self.steps:,} steps more"
        return f"dense and compact: {self.steps:,} steps each, the first {self.shared_steps:,} in common"

    @property
    def title(self) -> str:
        return f"{self.method}: {self.ratio:.1f}x fewer recurrent parameters"

    def __repr__(self) -> str:
        table = [("", "dense", "compact", ""), *self.rows()]
        widths = [max(len(row[column]) for row in table) for column in range(4)]
        lines = []
        for first, *others in table:
            cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
            lines.append("  ".join([first.ljust(widths[0]), *cells]))
        return "\n".join([self.title, *(line.rstrip() for line in lines), *self.sentences()])

    def _repr_html_(self) -> str:
        def row(cells: tuple[str, ...], tag: str) -> str:
            return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        head, body = row(("", "dense", "compact", ""), "th"), "".join(row(cells, "td") for cells in self.rows())
        below = "<br>".join(map(escape, self.sentences()))
        return f"<b>{escape(self.title)}</b><table><thead>{head}</thead><tbody>{body}</tbody></table><p>{below}</p>"
