"""One progress display for shells and notebooks.

In a notebook one cell output is updated in place; elsewhere a line is written to stderr, at most
one every two seconds, so that a log file stays readable.
"""

from __future__ import annotations

import html
import sys
import time
from types import TracebackType

SECONDS_BETWEEN_LINES = 2.0
SECONDS_BETWEEN_UPDATES = 0.2


class Progress:
    """How much of an amount of work is done; use as a context manager.

    `total` is None where nobody knows how much there is.
    """

    def __init__(self, label: str, total: int | None, visible: bool = True):
        self.label = label
        self.total = total
        self.visible = visible
        self.done = 0
        self.note = ""
        self._start = time.monotonic()
        self._last_display = self._start
        self._displayed = 0  # `done` at that time
        self._handle = self._in_notebook() if visible else None

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A shell that saw no line so far needs none for work that took a moment.
        line_is_old = self._last_display > self._start and self._displayed < self.done
        if self._handle is not None or line_is_old or error is not None:
            self._display()

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Count ``amount`` more as done, and show it when the last display is old enough."""
        self.done += amount
        self.note = note or self.note
        wait = SECONDS_BETWEEN_LINES if self._handle is None else SECONDS_BETWEEN_UPDATES
        if time.monotonic() - self._last_display >= wait:
            self._display()

    def text(self) -> str:
        """One line: done of total, per cent, time left (in the end: time taken), note."""
        elapsed = time.monotonic() - self._start
        if self.total is None:
            line = f"{self.label}: {self.done:,} ({_clock(elapsed)})"
            return f"{line} {self.note}" if self.note else line
        share = self.done / self.total if self.total else 1.0
        duration = _clock(elapsed)
        if 0 < share < 1:
            duration = f"{_clock(elapsed * (1 - share) / share)} left"
        line = f"{self.label}: {self.done:,} of {self.total:,} ({share:.0%}, {duration})"
        return f"{line} {self.note}" if self.note else line

    def _display(self) -> None:
        if not self.visible:
            return
        self._last_display = time.monotonic()
        self._displayed = self.done
        if self._handle is not None:
            self._handle.update(self._bundle(), raw=True)
        else:
            print(self.text(), file=sys.stderr, flush=True)

    def _bundle(self) -> dict[str, str]:
        """The line as text, and with a bar for a notebook."""
        value = "" if self.total is None else f'value="{self.done}" max="{max(self.total, 1)}"'
        bar = f'<progress {value} style="width:30ch"></progress>'
        return {
            "text/plain": self.text(),
            "text/html": f"{bar} <code>{html.escape(self.text())}</code>",
        }

    def _in_notebook(self):  # noqa: ANN202 (IPython's handle, where there is IPython)
        """A display handle when this runs in a Jupyter kernel, else None.

        IPython is not imported to find out: where it is not loaded, there is no kernel.
        """
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython is not None else None
        if shell is None or getattr(shell, "kernel", None) is None:
            return None
        from IPython.display import display

        return display(self._bundle(), raw=True, display_id=True)


def _clock(seconds: float) -> str:
    """A duration in words: 7 s, 3 min 05 s, 2 h 10 min."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
