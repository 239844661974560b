//! A client of WebDriver (W3C Recommendation, and Chrome's own commands of the DevTools protocol): one Chromium, one window.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Command, Stdio};

use base64::prelude::{BASE64_STANDARD, Engine};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Process, SOON, wait_until};

/// Whether there is a browser, and what drives it.
pub(crate) fn installed() -> bool {
    ["chromium", "chromedriver"].iter().all(|program| {
        let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    })
}

/// What the page is looked at on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    Phone,
    Desktop,
}

impl Screen {
    /// In CSS pixels.
    pub(crate) fn width(self) -> u32 {
        match self {
            Screen::Phone => 390,
            Screen::Desktop => 1280,
        }
    }
}

/// A browser. It ends with its test.
pub(crate) struct Browser {
    driver: Driver,
    session: String,
    /// Its process.
    pid: Option<Pid>,
}

/// chromedriver.
struct Driver {
    port: u16,
    /// Killed after the browser, which only it can end.
    _process: Process,
    /// What both leave behind.
    _folder: TempDir,
}

impl Browser {
    pub(crate) fn start(screen: Screen, javascript: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start(Command::new("chromedriver").arg("--port=0").env("TMPDIR", folder.path()));
        let line = process.wait_for("started successfully on port ");
        let port = line.trim_end_matches('.').rsplit_once(' ').unwrap().1.parse().unwrap();
        let driver = Driver { port, _process: process, _folder: folder };
        // Root has no sandbox, and a container has little shared memory.
        let mut options = json!({"args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage",
            "--window-size=1280,900", "--force-color-profile=srgb"]});
        if screen == Screen::Phone {
            // Without a touch screen: a tap waits for a script, and never ends where scripts are blocked.
            let metrics = json!({"width": 390, "height": 844, "pixelRatio": 1.25, "mobile": true, "touch": false});
            options["mobileEmulation"] = json!({ "deviceMetrics": metrics });
        }
        if !javascript {
            // The setting of the browser that blocks it: 2.
            options["prefs"] = json!({"profile.managed_default_content_settings.javascript": 2});
        }
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}});
        let made = driver.ask("POST", "/session", &wanted).unwrap();
        let pid = made["capabilities"]["goog:processID"].as_i64().and_then(|pid| Pid::from_raw(pid as i32));
        Browser { driver, session: made["sessionId"].as_str().unwrap().to_owned(), pid }
    }

    fn ask(&self, method: &str, command: &str, parameters: &Value) -> Result<Value, String> {
        self.driver.ask(method, &format!("/session/{}{command}", self.session), parameters)
    }

    fn post(&self, command: &str, parameters: &Value) -> Value {
        self.ask("POST", command, parameters).unwrap()
    }

    /// Goes to `url` and waits until it has loaded.
    pub(crate) fn go(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    pub(crate) fn reload(&self) {
        self.post("/refresh", &json!({}));
    }

    pub(crate) fn url(&self) -> String {
        self.ask("GET", "/url", &Value::Null).unwrap().as_str().unwrap().to_owned()
    }

    /// The text that one sees; `None`: the page is about to be replaced.
    fn try_text(&self) -> Option<String> {
        let body = self.find("//body").ok()?.pop()?;
        Some(self.ask("GET", &format!("/element/{body}/text"), &Value::Null).ok()?.as_str()?.to_owned())
    }

    /// The text that one sees.
    pub(crate) fn text(&self) -> String {
        wait_until("there is a page", || self.try_text())
    }

    pub(crate) fn shows(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    /// Waits for `text`, without doing anything.
    pub(crate) fn wait_for(&self, text: &str) {
        wait_until(&format!("the page shows {text:?}"), || self.try_text()?.contains(text).then_some(()));
    }

    /// The elements that an XPath selects.
    fn find(&self, path: &str) -> Result<Vec<String>, String> {
        let found = self.ask("POST", "/elements", &json!({"using": "xpath", "value": path}))?;
        let ids = found.as_array().unwrap().iter().filter_map(|element| element.as_object()?.values().next()?.as_str());
        Ok(ids.map(str::to_owned).collect())
    }

    /// The buttons with this label that one sees.
    fn buttons(&self, label: &str) -> Vec<String> {
        let all = self.find(&format!("//button[normalize-space()='{label}']")).unwrap();
        let is_seen =
            |id: &String| self.ask("GET", &format!("/element/{id}/displayed"), &Value::Null) == Ok(json!(true));
        all.into_iter().filter(is_seen).collect()
    }

    pub(crate) fn has_button(&self, label: &str) -> bool {
        !self.buttons(label).is_empty()
    }

    /// Clicks the one button with this label.
    pub(crate) fn click(&self, label: &str) {
        let buttons = self.buttons(label);
        assert_eq!(buttons.len(), 1, "buttons {label:?} on:\n{}", self.text());
        self.post(&format!("/element/{}/click", buttons[0]), &json!({}));
    }

    /// Goes on in the frame, which is the only one.
    pub(crate) fn enter_frame(&self) {
        self.post("/frame", &json!({"id": 0}));
    }

    /// What the body of an asynchronous function returns, run by the test on the page.
    pub(crate) fn run(&self, body: &str) -> Value {
        self.post("/execute/sync", &json!({"script": format!("return (async () => {{ {body} }})()"), "args": []}))
    }

    /// The width of the window, and of what is in it, in CSS pixels.
    pub(crate) fn widths(&self) -> (u32, u32) {
        let widths = self.run("return [innerWidth, document.documentElement.scrollWidth]");
        serde_json::from_value(widths).unwrap()
    }

    /// A command of the Chrome DevTools protocol.
    pub(crate) fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    /// Has whoever looks prefer dark pages.
    pub(crate) fn prefer_dark(&self) {
        let feature = json!({"name": "prefers-color-scheme", "value": "dark"});
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
    }

    /// A picture of the page from `top` to `bottom`, as PNG.
    pub(crate) fn picture(&self, top: f64, bottom: f64) -> Vec<u8> {
        let clip = json!({"x": 0, "y": top, "width": self.widths().0, "height": bottom - top, "scale": 1});
        let shot = self.devtools("Page.captureScreenshot", &json!({"format": "png", "clip": clip}));
        BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // A driver that hangs, or has died, leaves its browser behind.
        if let (Err(_), Some(pid)) = (self.ask("DELETE", "", &Value::Null), self.pid) {
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

impl Driver {
    /// The value of the answer to a command; as an error what the driver says.
    fn ask(&self, method: &str, path: &str, parameters: &Value) -> Result<Value, String> {
        let body = if method == "POST" { parameters.to_string() } else { String::new() };
        let answer = exchange(self.port, method, path, &body).map_err(|error| format!("{method} {path}: {error}"))?;
        let answer: Value = serde_json::from_str(&answer).map_err(|error| format!("{method} {path}: {error}"))?;
        match answer["value"]["error"].as_str() {
            Some(error) => Err(format!("{method} {path} {body}: {error}: {}", answer["value"]["message"])),
            None => Ok(answer["value"].clone()),
        }
    }
}

fn exchange(port: u16, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(SOON))?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all((head + body).as_bytes())?;
    let (mut reader, mut line, mut length) = (BufReader::new(stream), String::new(), 0);
    while reader.read_line(&mut line)? > 0 && !line.trim().is_empty() {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    let mut answer = vec![0; length];
    reader.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
