//! The page in a real browser, as a friend sees it: on a phone and on a desktop, with JavaScript and without.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::launcher::{KEY, Launcher, SELDOM};
use crate::skip_unless;
use crate::stand_in::{Fault, StandIn, full, now, within_a_day};
use crate::support::relay::Relay;
use crate::support::wait_until;
use crate::webdriver::{Browser, Screen, installed};

const BROWSER: &str = "Debian's packages chromium and chromium-driver; run tests/lab/setup.sh manual as root";
/// Around what is on a picture, in CSS pixels.
const MARGIN: f64 = 16.0;
const START: &str = "Start the server";
const ADDRESS: (&str, &str) = ("MC_ADDRESS", "play.example.org");
const HEARTBEAT: &str = include_str!("../../shared/heartbeat/examples/occupied.json");
const UP: &str = "The server is up. 2 players are on port 25565.";

#[test]
fn a_friend_starts_the_server_on_a_phone() {
    skip_unless!(installed(), BROWSER);
    a_friend_starts_the_server(Screen::Phone, true);
}

#[test]
fn a_friend_starts_the_server_on_a_desktop() {
    skip_unless!(installed(), BROWSER);
    a_friend_starts_the_server(Screen::Desktop, true);
}

#[test]
fn a_friend_starts_the_server_on_a_phone_without_javascript() {
    skip_unless!(installed(), BROWSER);
    a_friend_starts_the_server(Screen::Phone, false);
}

#[test]
fn a_friend_starts_the_server_on_a_desktop_without_javascript() {
    skip_unless!(installed(), BROWSER);
    a_friend_starts_the_server(Screen::Desktop, false);
}

/// From the invitation to the address, which a script can copy.
fn a_friend_starts_the_server(screen: Screen, javascript: bool) {
    let ec2 = StandIn::start("stopped");
    ec2.state().boots = Duration::from_secs(600);
    let launcher = Launcher::start(&ec2, SELDOM, &[ADDRESS]);
    let browser = Browser::start(screen, javascript);
    let fits = || assert_eq!(browser.widths(), (screen.width(), screen.width()), "{}", browser.text());

    browser.go(&invitation(&launcher.origin(), KEY));
    assert_eq!(browser.url(), format!("{}/", launcher.origin()), "the key is not left in the address bar");
    assert!(browser.shows("Asleep\nThe server is asleep."), "{}", browser.text());
    fits();
    assert_eq!(ec2.count("StartInstances"), 0, "looking starts nothing");

    browser.click(START);
    browser.wait_for("Starting\nThe server is starting.");
    assert!(!browser.has_button(START), "{}", browser.text());
    assert_eq!(browser.url(), format!("{}/", launcher.origin()), "a reload presses nothing");
    browser.reload();
    assert!(browser.shows("Starting\n"), "{}", browser.text());
    fits();
    assert_eq!(ec2.count("StartInstances"), 1);

    // Nobody touches the browser: a page without a script follows as well.
    ec2.put("heartbeat", HEARTBEAT);
    ec2.set("running");
    browser.wait_for(UP);
    assert!(browser.shows("Up\n") && browser.shows("play.example.org") && browser.shows("Alex, Steve"));
    fits();
    assert_eq!(browser.has_button("Copy"), javascript, "{}", browser.text());
    if javascript {
        copies_the_address(&browser, &launcher.origin());
    }
    assert_eq!(ec2.count("StartInstances"), 1);
}

fn copies_the_address(browser: &Browser, origin: &str) {
    browser.click("Copy");
    browser.wait_for("Copied");
    // To paste is what a person is asked for; a script without a person needs the permission.
    let permission = serde_json::json!({"origin": origin, "permissions": ["clipboardReadWrite"]});
    browser.devtools("Browser.grantPermissions", &permission);
    assert_eq!(browser.run("return navigator.clipboard.readText()"), "play.example.org");
}

/// A refusal is shown where the button was pressed, at /start, which there is no way to get: what follows is the page.
#[test]
fn after_a_refusal_the_page_follows_as_well() {
    skip_unless!(installed(), BROWSER);
    let ec2 = StandIn::start("stopped");
    let launcher = Launcher::start(&ec2, SELDOM, &[]);
    let with_script = Browser::start(Screen::Phone, true);
    let without = Browser::start(Screen::Phone, false);
    // The one that follows by itself last: it has to be pressed before it looks again, 5 s later.
    for browser in [&without, &with_script] {
        browser.go(&invitation(&launcher.origin(), KEY));
    }
    ec2.fail("DescribeInstances", Fault::Code("UnauthorizedOperation"));
    for browser in [&with_script, &without] {
        browser.click(START);
        browser.wait_for("The server was not started: ");
        assert!(browser.shows("Unknown\n"), "{}", browser.text());
    }
    ec2.mend();
    for browser in [&with_script, &without] {
        browser.wait_for("Asleep\n");
        assert!(browser.has_button(START), "{}", browser.text());
    }
    assert_eq!(ec2.count("StartInstances"), 0);
}

/// What a browser sends without a press of the button, and what another page sends in a friend's name.
#[test]
fn nobody_but_a_friend_on_the_page_itself_starts_the_server() {
    skip_unless!(installed(), BROWSER);
    let ec2 = StandIn::start("stopped");
    let launcher = Launcher::start(&ec2, SELDOM, &[]);
    // Sees what the browser sends. A cookie is for every port of its host.
    let relay = Relay::start(launcher.port);
    let sent = |line: &str| relay.said().iter().map(|said| said.matches(line).count()).sum::<usize>();
    let origin = relay.url();
    let browser = Browser::start(Screen::Phone, true);
    browser.go(&invitation(&origin, KEY));
    assert!(browser.has_button(START));

    let near = Site::start(
        Ipv4Addr::LOCALHOST,
        &format!(
            "<link rel=prefetch href='{origin}/start?prefetch'><img src='{origin}/start?image' alt='A cat'>\
             <p>Cats</p><form method=post action='{origin}/start'><button>More cats</button></form>"
        ),
    );
    browser.go(&near);
    for line in ["GET /start?prefetch HTTP/1.1", "GET /start?image HTTP/1.1"] {
        wait_until(line, || (sent(line) > 0).then_some(()));
    }
    browser.click("More cats");
    browser.wait_for("The server can be started from its own page only.");
    assert_eq!(sent("POST /start HTTP/1.1"), 1);

    // From another host the cookie does not even come along (SameSite).
    let far = Site::start(
        Ipv4Addr::new(127, 0, 0, 2),
        &format!("<form method=post action='{origin}/start' enctype='text/plain'><button>Dogs</button></form>"),
    );
    browser.go(&far);
    browser.click("Dogs");
    browser.wait_for("To start the server, open the invitation link");
    assert_eq!(sent("POST /start HTTP/1.1"), 2);

    // Nor is the button put under somebody's finger.
    browser.go(&Site::start(Ipv4Addr::LOCALHOST, &format!("<p>A frame</p><iframe src='{origin}/'></iframe>")));
    browser.enter_frame();
    assert!(!browser.shows("survival") && !browser.has_button(START), "{}", browser.text());

    // The page's own origin, with the cookie.
    browser.go(&format!("{origin}/start"));
    assert!(browser.shows("Not like this."), "{}", browser.text());
    browser.go(&format!("{origin}/"));
    assert!(browser.has_button(START), "the cookie was there all the time");
    assert_eq!(browser.run("return (await fetch('/start', { method: 'HEAD' })).status"), 405);
    assert_eq!(sent("HEAD /start HTTP/1.1"), 1);
    assert_eq!(ec2.count("StartInstances"), 0);

    browser.click(START);
    browser.wait_for("Starting\n");
    assert_eq!(ec2.count("StartInstances"), 1, "and all the while it could be started");
}

#[test]
fn whoever_has_no_key_or_a_wrong_one_is_told_so_and_starts_nothing() {
    skip_unless!(installed(), BROWSER);
    let ec2 = StandIn::start("stopped");
    let launcher = Launcher::start(&ec2, SELDOM, &[ADDRESS]);
    let origin = launcher.origin();
    let browser = Browser::start(Screen::Phone, true);
    let is_stranger = || {
        browser.go(&origin);
        assert!(browser.shows("Asleep\n") && browser.shows("open the invitation link"), "{}", browser.text());
        assert!(!browser.has_button(START) && !browser.shows("play.example.org"), "{}", browser.text());
        press_a_button_of_ones_own(&browser);
        browser.wait_for("To start the server, open the invitation link");
        assert_eq!(browser.widths(), (390, 390), "and can read it");
    };
    is_stranger();
    browser.go(&invitation(&origin, "correct-horse-batterie"));
    assert!(browser.shows("This invitation is not valid any more."), "{}", browser.text());
    is_stranger();
    // The cookie of a key that has been changed since: it is the same for every port of the host.
    browser.go(&invitation(&origin, KEY));
    assert!(browser.has_button(START), "{}", browser.text());
    let changed = StandIn::start("stopped");
    changed.put("key", "staple-battery-horse");
    let launcher = Launcher::start(&changed, SELDOM, &[]);
    browser.go(&launcher.origin());
    assert!(browser.shows("open the invitation link") && !browser.has_button(START), "{}", browser.text());
    press_a_button_of_ones_own(&browser);
    browser.wait_for("This key is not valid any more.");
    assert_eq!((ec2.count("StartInstances"), changed.count("StartInstances")), (0, 0));
}

/// One that the page does not have.
fn press_a_button_of_ones_own(browser: &Browser) {
    let form = "<form method=post action=/start><button>Mine</button></form>";
    browser.run(&format!("document.body.insertAdjacentHTML('beforeend', '{form}')"));
    browser.click("Mine");
}

/// Each state on a phone, with names and addresses that do not fit. Writes docs/launcher/*.png for `make pictures`.
#[test]
fn every_state_fits_a_phone_and_its_pictures_show_it() {
    skip_unless!(installed(), BROWSER);
    let browser = Browser::start(Screen::Phone, true);
    let settings = [ADDRESS, ("MC_PRICE_PER_HOUR", "0.0832"), ("MC_STARTS_PER_DAY", "3")];
    let scene = |name: &str, settings: &[(&str, &str)], ec2: &StandIn, words: &[&str]| {
        let launcher = Launcher::start(ec2, SELDOM, settings);
        browser.go(&invitation(&launcher.origin(), KEY));
        for words in words {
            assert!(browser.shows(words), "{name}: {words:?} is not in:\n{}", browser.text());
        }
        assert_eq!(browser.widths(), (390, 390), "{name}");
        keep(&browser, name);
    };

    let asleep = StandIn::start("stopped");
    asleep.put("starts", &starts(1));
    scene("asleep", &settings, &asleep, &["Asleep\n", START, "This month\n$3.05"]);
    asleep.put("starts", &starts(3));
    scene("over-budget", &settings, &asleep, &["Asleep\n", "today's 3 starts are used up until"]);

    let ec2 = StandIn::start("pending");
    ec2.put("starts", &starts(1));
    launched(&ec2, 1);
    scene("starting", &settings, &ec2, &["Starting\n", "play.example.org", "Started at"]);
    ec2.set("running");
    launched(&ec2, 130);
    ec2.put("heartbeat", HEARTBEAT);
    scene("up", &settings, &ec2, &["Up\n", UP, "play.example.org", "Alex, Steve", "This evening\n$0.18"]);

    let wide = ["M"; 40].concat();
    ec2.put("heartbeat", &HEARTBEAT.replace("Alex, Steve", &wide).replace("2 players", &wide));
    let long = format!("{wide}.{wide}.example.org");
    scene("", &[("MC_ADDRESS", &long), ("MC_PORT", "25599")], &ec2, &["Up\n", ":25599", &wide]);

    let ec2 = StandIn::start("stopping");
    ec2.put("starts", &starts(1));
    launched(&ec2, 130);
    scene("stopping", &settings, &ec2, &["Stopping\n", "The server is shutting down.", START]);

    let ec2 = StandIn::start("running");
    ec2.put("starts", &starts(1));
    launched(&ec2, 130);
    let silent = (HEARTBEAT.to_owned(), now().checked_sub(Duration::from_mins(40)).unwrap());
    ec2.state().parameters.insert(full("heartbeat"), silent);
    scene("trouble", &settings, &ec2, &["Trouble\n", "has not reported since"]);

    ec2.fail("DescribeInstances", Fault::Code("UnauthorizedOperation"));
    scene("unknown", &settings, &ec2, &["Unknown\n", "Cannot see how the server is"]);
}

#[test]
fn a_dark_desktop_gets_a_dark_page_and_its_pictures_show_it() {
    skip_unless!(installed(), BROWSER);
    let ec2 = StandIn::start("running");
    launched(&ec2, 130);
    ec2.put("starts", &starts(1));
    ec2.put("heartbeat", HEARTBEAT);
    let launcher = Launcher::start(&ec2, SELDOM, &[ADDRESS, ("MC_PRICE_PER_HOUR", "0.0832")]);
    let browser = Browser::start(Screen::Desktop, true);
    browser.go(&invitation(&launcher.origin(), KEY));
    assert!(brightness(&browser) > 200.0, "by day");
    browser.prefer_dark();
    assert!(brightness(&browser) < 50.0, "by night");
    assert!(browser.shows(UP), "{}", browser.text());
    keep(&browser, "up-dark-desktop");
}

/// Of the page behind everything, from 0 to 255.
fn brightness(browser: &Browser) -> f64 {
    let red = "return Number(getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/)[0])";
    browser.run(red).as_f64().unwrap()
}

/// Writes a picture of what the page holds, if `MC_LAUNCHER_PICTURES` names a folder for it.
fn keep(browser: &Browser, name: &str) {
    let Some(folder) = std::env::var_os("MC_LAUNCHER_PICTURES").filter(|_| !name.is_empty()) else { return };
    let card = browser
        .run("const { top, bottom } = document.querySelector('section').getBoundingClientRect(); return [top, bottom]");
    let (top, bottom): (f64, f64) = serde_json::from_value(card).unwrap();
    fs::create_dir_all(&folder).unwrap();
    fs::write(Path::new(&folder).join(format!("{name}.png")), browser.picture(top - MARGIN, bottom + MARGIN)).unwrap();
}

fn invitation(origin: &str, key: &str) -> String {
    format!("{origin}/i/{key}")
}

/// Has the instance have been launched so many minutes ago.
fn launched(ec2: &StandIn, minutes: u64) {
    let mut all = ec2.state();
    all.machines.last_mut().unwrap().launch_time = now().checked_sub(Duration::from_mins(minutes)).unwrap();
}

/// What was used: so many starts today, and 36 hours and 40 minutes this month.
fn starts(today: u32) -> String {
    within_a_day();
    let time = now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    serde_json::json!({
        "last": {"started": time, "until": time, "over": true},
        "starts_before": today - 1, "seconds_before": 132_000, "asked": null,
    })
    .to_string()
}

/// Somebody else's site, with one page. It lives as long as the test's process.
struct Site;

impl Site {
    /// Its address.
    fn start(host: Ipv4Addr, body: &str) -> String {
        let listener = TcpListener::bind((IpAddr::V4(host), 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let page = format!("<!DOCTYPE html><meta name=viewport content='width=device-width'>{body}");
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                // Chromium opens connections ahead, and says nothing on them.
                let page = page.clone();
                thread::spawn(move || {
                    let head = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                    if head.take_while(|line| !line.is_empty()).count() > 0 {
                        let length = page.len();
                        let answer =
                            format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n");
                        let _ = stream.write_all(format!("{answer}connection: close\r\n\r\n{page}").as_bytes());
                    }
                });
            }
        });
        format!("http://{host}:{port}/")
    }
}
