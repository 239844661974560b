"""The running log of a test that takes minutes."""

import time

from demo import Screen


class Log(Screen):
    """Off a terminal, a sign of life comes less often than in the demo: this takes longer."""

    SILENCE_SECONDS = 20

    def progress(self, who, text):
        if self.live or time.monotonic() - self.spoke >= self.SILENCE_SECONDS:
            super().progress("test", text)
