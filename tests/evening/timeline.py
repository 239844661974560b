"""When what happened, and how long it took: on the screen, and as Markdown."""

import time


class Timeline:
    def __init__(self):
        self.moments = {}
        self.phases = []

    def mark(self, moment, at=None):
        """Notes the first time of a moment; returns it."""
        return self.moments.setdefault(moment, time.time() if at is None else at)

    def phase(self, what, since, until, allowed=""):
        """From one moment to another. `allowed`: what the promise says, in words."""
        self.phases.append((what, self.moments[until] - self.moments[since], allowed))

    def lines(self):
        width = max(len(what) for what, _, _ in self.phases)
        for what, took, allowed in self.phases:
            yield f"{what:<{width}}  {took:7.1f} s" + (f"  ({allowed})" if allowed else "")

    def markdown(self, title, introduction):
        rows = [f"| {what} | {took:.1f} | {allowed} |" for what, took, allowed in self.phases]
        head = ["| from – to | seconds | promised |", "|---|---:|---|"]
        return "\n".join([f"## {title}", "", *introduction, "", *head, *rows, ""])
