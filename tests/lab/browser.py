"""A real browser for Python tests: Chromium, driven by chromedriver (WebDriver, W3C Recommendation: JSON over HTTP).

    with Driver() as driver, driver.browser() as browser:
        browser.open("http://localhost:8080/")
        browser.wait_for("Asleep", seconds=20)
        browser.click("Start the server")
        browser.screenshot(Path("page.png"))

One driver may have several browsers. They share nothing: each has cookies of its own. Both end with this process.
"""

import base64
import ctypes
import json
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from contextlib import suppress
from http.client import HTTPConnection, HTTPException

PROGRAMS = ("chromium", "chromedriver")
READY = re.compile(r"started successfully on port (\d+)")
READY_SECONDS = 30
ANSWER_SECONDS = 330  # the driver itself waits 300 s for a page
# Root has no sandbox, and a container has little shared memory.
ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,900", "--force-color-profile=srgb",
)
PHONE = {"width": 390, "height": 844, "pixelRatio": 2, "mobile": True, "touch": False}


class BrowserError(Exception):
    """What the driver refuses, or the page does not show, in one sentence."""


def missing():
    """The programs that are not installed: Debian's packages chromium and chromium-driver."""
    return [program for program in PROGRAMS if not shutil.which(program)]


class Driver:
    """chromedriver on a free port of the loopback."""

    def __init__(self, environment=None):
        """`environment`: instead of this process's own, as for a subprocess."""
        self.environment = environment
        self.process = self.folder = self.port = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self.folder = tempfile.TemporaryDirectory(prefix="mc-idle-browser-", ignore_cleanup_errors=True)
        die_with_parent = ctypes.CDLL(None).prctl
        self.process = subprocess.Popen(
            # `env`, so that what both leave behind is deleted with the folder.
            ["env", f"TMPDIR={self.folder.name}", "chromedriver", "--port=0"], env=self.environment,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
            start_new_session=True, preexec_fn=lambda: die_with_parent(1, signal.SIGTERM),  # PR_SET_PDEATHSIG
        )
        said, ready = deque(maxlen=20), threading.Event()
        threading.Thread(target=self.listen, args=(said, ready), daemon=True).start()
        if not ready.wait(READY_SECONDS) or not self.port:
            self.stop()
            raise BrowserError(f"chromedriver was not ready within {READY_SECONDS} s:\n" + "\n".join(said))

    def listen(self, said, ready):
        for line in self.process.stdout:
            said.append(line.rstrip())
            if found := READY.search(line):
                self.port = int(found.group(1))
                ready.set()
        ready.set()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.folder.cleanup()

    def ask(self, method, path, parameters=None):
        """The value of the answer to a command."""
        body = json.dumps(parameters or {}) if method == "POST" else None
        connection = HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            value = json.loads(connection.getresponse().read())["value"]
        except (OSError, HTTPException, ValueError, KeyError) as error:
            raise BrowserError(f"chromedriver did not answer {method} {path}: {error!r}") from error
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            raise BrowserError(f"{method} {path}: {value['error']}: {value['message'].splitlines()[0]}")
        return value

    def browser(self, phone=False, arguments=()):
        """A new browser. `arguments`: more of Chromium's."""
        return Browser(self, phone, arguments)


class Browser:
    """One Chromium with one window. Its profile goes with it."""

    def __init__(self, driver, phone, arguments):
        self.driver = driver
        options = {"args": [*ARGUMENTS, *arguments]}
        if phone:
            options["mobileEmulation"] = {"deviceMetrics": PHONE}
        wanted = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
        self.session = driver.ask("POST", "/session", {"capabilities": wanted})["sessionId"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with suppress(BrowserError):  # a driver that has died, or a browser
            self.ask("DELETE", "")

    def ask(self, method, command, parameters=None):
        return self.driver.ask(method, f"/session/{self.session}{command}", parameters)

    def open(self, url):
        """Goes there, and waits until the page has loaded."""
        self.ask("POST", "/url", {"url": url})

    def reload(self):
        self.ask("POST", "/refresh")

    def url(self):
        return self.ask("GET", "/url")

    def title(self):
        return self.ask("GET", "/title")

    def text(self):
        """What one reads; an empty text while one page is being replaced by the next."""
        try:
            body = self.find("//body")
            return self.ask("GET", f"/element/{body[0]}/text") if body else ""
        except BrowserError as error:
            if "stale element" in str(error) or "no such element" in str(error):
                return ""
            raise

    def wait_for(self, text, seconds):
        """Waits until the page shows `text`, without doing anything to it; returns all that it shows then."""
        end = time.monotonic() + seconds
        while text not in (shown := self.text()):
            if time.monotonic() >= end:
                raise BrowserError(f"the page did not show {text!r} within {seconds} s; it shows:\n{shown}")
            time.sleep(0.2)
        return shown

    def find(self, path):
        """The elements that an XPath selects."""
        return [next(iter(found.values())) for found in self.ask("POST", "/elements", {"using": "xpath", "value": path})]

    def texts(self, path):
        """What one reads in each of the elements that an XPath selects."""
        return [self.ask("GET", f"/element/{element}/text") for element in self.find(path)]

    def buttons(self, label):
        """The buttons with this label that one sees."""
        found = self.find(f"//button[normalize-space()='{label}']")
        return [element for element in found if self.ask("GET", f"/element/{element}/displayed")]

    def click(self, label):
        """Clicks the one button with this label."""
        buttons = self.buttons(label)
        if len(buttons) != 1:
            raise BrowserError(f"there are {len(buttons)} buttons {label!r} on the page, which shows:\n{self.text()}")
        self.ask("POST", f"/element/{buttons[0]}/click")

    def cookies(self):
        """Those that the page is sent, by name; each with its attributes as WebDriver calls them."""
        return {cookie["name"]: cookie for cookie in self.ask("GET", "/cookie")}

    def screenshot(self, file):
        """The window as PNG, into `file`."""
        file.write_bytes(base64.b64decode(self.ask("GET", "/screenshot")))
