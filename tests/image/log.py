"""The running log of a test that takes minutes."""

import resource
import time

from demo import Screen


class Log(Screen):
    """Off a terminal, a sign of life comes less often than in the demo: this takes longer."""

    NARRATOR = "test"
    SILENCE_SECONDS = 20

    def progress(self, who, text):
        if self.live or time.monotonic() - self.spoke >= self.SILENCE_SECONDS:
            super().progress(self.NARRATOR, text)

    def as_promised(self):
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.line(self.NARRATOR, f"all as promised, with {used.ru_utime + used.ru_stime:.0f} s of processor time")
