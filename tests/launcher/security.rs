//! Hostile requests: each is refused with the right code, starts nothing, and leaves no secret in any line.

use crate::launcher::{BROKER_KEY, KEY, Launcher, SELDOM};
use crate::stand_in::StandIn;

/// A request as it goes over the wire, and the codes that may come back; none: the connection is closed without an answer.
struct Case {
    what: &'static str,
    request: Vec<u8>,
    codes: &'static [u16],
}

fn case(what: &'static str, request: impl Into<Vec<u8>>, codes: &'static [u16]) -> Case {
    Case { what, request: request.into(), codes }
}

/// A request with these lines in its head.
fn plain(line: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let head = [&[&format!("{line} HTTP/1.1"), "host: 127.0.0.1", "connection: close"], headers].concat().join("\r\n");
    format!("{head}\r\n\r\n{body}").into_bytes()
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases(cookie: &str) -> Vec<Case> {
    let bearer = format!("authorization: Bearer {KEY}");
    let with_cookie = format!("cookie: {cookie}");
    let own = "origin: http://127.0.0.1";
    let long = |length| "a".repeat(length);
    let broker = format!("authorization: Bearer {BROKER_KEY}");
    vec![
        // Ways to start without a POST.
        case("GET /start", plain("GET /start", &[&bearer], ""), &[405]),
        case("HEAD /start", plain("HEAD /start", &[&bearer], ""), &[405]),
        case("PUT /start", plain("PUT /start", &[&bearer, "content-length: 0"], ""), &[405]),
        case("a method of one's own", plain("START /start", &[&bearer], ""), &[405]),
        case("an overridden method", plain("GET /start", &[&bearer, "x-http-method-override: POST"], ""), &[405]),
        // Keys.
        case("no key", plain("POST /start", &["content-length: 0"], ""), &[401]),
        case("an empty key", plain("POST /start", &["authorization: Bearer ", "content-length: 0"], ""), &[401, 403]),
        case("a wrong key", plain("POST /start", &["authorization: Bearer wrong", "content-length: 0"], ""), &[403]),
        case("half a key", plain("POST /start", &[&bearer[..bearer.len() - 1], "content-length: 0"], ""), &[403]),
        case("a key and more", plain("POST /start", &[&format!("{bearer}x"), "content-length: 0"], ""), &[403]),
        case(
            "a key as a password",
            plain("POST /start", &["authorization: Basic OmNvcnJlY3Q=", "content-length: 0"], ""),
            &[401],
        ),
        case("a key in the query", plain(&format!("POST /start?key={KEY}"), &["content-length: 0"], ""), &[401]),
        case(
            "a long key",
            plain("POST /start", &[&format!("authorization: Bearer {}", long(9000)), "content-length: 0"], ""),
            &[403],
        ),
        case(
            "a cookie that was made up",
            plain(
                "POST /start",
                &[&format!("cookie: __Host-mc-launcher={}", "0".repeat(64)), own, "content-length: 0"],
                "",
            ),
            &[403],
        ),
        case(
            "the key as a cookie",
            plain("POST /start", &[&format!("cookie: __Host-mc-launcher={KEY}"), own, "content-length: 0"], ""),
            &[403],
        ),
        case("a wrong invitation", plain("GET /i/wrong-wrong-wrong-wrong", &[], ""), &[403]),
        case("an invitation of the broker", plain(&format!("GET /i/{BROKER_KEY}"), &[], ""), &[403]),
        // Other sites.
        case("a cookie without an origin", plain("POST /start", &[&with_cookie, "content-length: 0"], ""), &[403]),
        case(
            "another origin",
            plain("POST /start", &[&with_cookie, "origin: https://evil.example", "content-length: 0"], ""),
            &[403],
        ),
        case(
            "no origin at all",
            plain("POST /start", &[&with_cookie, "origin: null", "content-length: 0"], ""),
            &[403],
        ),
        case(
            "an origin that begins alike",
            plain("POST /start", &[&with_cookie, "origin: http://127.0.0.1.evil.example", "content-length: 0"], ""),
            &[403],
        ),
        case(
            "two origins",
            plain("POST /start", &[&with_cookie, "origin: http://evil.example", own, "content-length: 0"], ""),
            &[403],
        ),
        // Bodies.
        case("a large body", plain("POST /start", &[&bearer, "content-length: 1000000"], &long(1_000_000)), &[413]),
        case(
            "a body that claims to be huge",
            plain("POST /start", &[&bearer, "content-length: 99999999999"], ""),
            &[413],
        ),
        case("a length that is none", plain("POST /start", &[&bearer, "content-length: -1"], ""), &[400]),
        case(
            "two lengths",
            plain("POST /start", &[&bearer, "content-length: 0", "content-length: 5"], "abcde"),
            &[400],
        ),
        case(
            "a length and chunks",
            plain("POST /start", &["content-length: 5", "transfer-encoding: chunked"], "0\r\n\r\n"),
            &[400, 401],
        ),
        case("a player without a name", plain("POST /start", &[&broker, "content-length: 2"], "{}"), &[400]),
        case("a player who is a list", plain("POST /start", &[&broker, "content-length: 2"], "[]"), &[400]),
        case(
            "a player in bad UTF-8",
            [plain("POST /start", &[&broker, "content-length: 3"], ""), b"\xff\xfe\xfd".to_vec()].concat(),
            &[400],
        ),
        // Paths.
        case("a path upwards", plain("GET /../../etc/passwd", &[], ""), &[404]),
        case("an encoded path upwards", plain("GET /%2e%2e/%2e%2e/etc/passwd", &[], ""), &[404]),
        case("two slashes", plain("POST //start", &[&bearer, "content-length: 0"], ""), &[404, 400]),
        case("a slash at the end", plain("POST /start/", &[&bearer, "content-length: 0"], ""), &[404]),
        case("a zero in the path", plain("GET /i/%00", &[], ""), &[404]),
        case("a line break in the path", plain("GET /i/a%0d%0aset-cookie:%20x=y", &[], ""), &[404]),
        case("a long path", plain(&format!("GET /i/{}", long(2000)), &[], ""), &[414]),
        case("a very long path", plain(&format!("GET /{}", long(100_000)), &[], ""), &[414, 431]),
        case("another host's address", plain("GET http://evil.example/start", &[], ""), &[405]),
        // Heads.
        case("a huge head", plain("GET /", &[&format!("x: {}", long(100_000))], ""), &[431]),
        case("ten thousand headers", plain("GET /", &vec!["x: y"; 10_000], ""), &[431]),
        case("a header without a name", plain("GET /", &[": x"], ""), &[400]),
        case("a zero in a header", plain("GET /", &["x: a\0b"], ""), &[400]),
        case("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), &[400]),
        case("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), &[]),
        case("another version", b"GET / HTTP/9.9\r\n\r\n".to_vec(), &[400]),
    ]
}

#[test]
fn hostile_requests_are_refused_and_nothing_is_started_or_said() {
    let ec2 = StandIn::start("stopped");
    let launcher = Launcher::start(&ec2, SELDOM, &[]);
    let cookie = launcher.get(&format!("/i/{KEY}"), &[]).cookie();
    let all = cases(&cookie);
    assert!(all.len() >= 30);
    for Case { what, request, codes } in &all {
        let answer = launcher.raw(request);
        let Some(answer) = answer else {
            assert!(codes.is_empty(), "{what}: no answer");
            continue;
        };
        assert!(codes.contains(&answer.status), "{what}: {answer:?}");
        assert!(!answer.head.to_ascii_lowercase().contains("set-cookie"), "{what}: {answer:?}");
        assert!(!answer.body.contains(KEY) && !answer.body.contains("127.0.0.1"), "{what}: {answer:?}");
    }
    assert_eq!(ec2.count("StartInstances"), 0);
    // It still works, and what it has said tells nobody anything.
    assert_eq!(launcher.press().status, 202);
    let secret = cookie.split_once('=').unwrap().1;
    for line in launcher.process.output() {
        for hidden in [KEY, BROKER_KEY, secret, "secret-of-the-test", "/i/", "AKIA"] {
            assert!(!line.contains(hidden), "{line}");
        }
    }
    assert!(launcher.process.output().iter().any(|line| line.contains("start denied")));
}

/// More than there are places.
#[test]
fn whoever_asks_and_never_reads_the_answer_keeps_nobody_out() {
    use std::io::Write;
    let ec2 = StandIn::start("stopped");
    let launcher = Launcher::start(&ec2, SELDOM, &[]);
    let mut open: Vec<_> = (0..300)
        .map(|_| {
            let stream = std::net::TcpStream::connect(("127.0.0.1", launcher.port)).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect();
    let many = b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".repeat(500);
    for _ in 0..20 {
        for stream in &mut open {
            // As much as there is room for.
            let _ = stream.write(&many);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    assert_eq!(launcher.get("/status", &[]).status, 200);
}

#[test]
fn a_stranger_sees_no_name_and_no_address_and_costs_little() {
    let ec2 = StandIn::start("running");
    ec2.put("heartbeat", include_str!("../../shared/heartbeat/examples/occupied.json"));
    let launcher = Launcher::start(&ec2, SELDOM, &[("MC_ADDRESS", "play.example.org")]);
    let seen = launcher.status();
    assert_eq!((seen["state"].as_str(), seen["names"].as_str()), (Some("up"), Some("Alex, Steve")), "{seen}");
    let before = ec2.count("DescribeInstances");
    for path in ["/", "/status"].repeat(20) {
        let answer = launcher.get(path, &[("authorization", "Bearer wrong")]);
        for secret in ["Alex", "Steve", "play.example.org", "127.0.0.1", "i-0123456789abcdef0"] {
            assert!(!answer.body.contains(secret), "{path}: {secret}: {}", answer.body);
        }
    }
    assert!(ec2.count("DescribeInstances") <= before + 20, "each request of a stranger is one of EC2");
}

#[test]
fn settings_that_are_wrong_are_refused_with_name_value_and_what_is_allowed() {
    for (settings, words) in [
        (&[("MC_PORT", "0")][..], "MC_PORT = \"0\" is not allowed; allowed: a port from 1 to 65535"),
        (&[("MC_SERVER", "")], "MC_SERVER is not set; allowed: 1 to 32 of a-z, 0-9 and -"),
        (&[("AWS_REGION", "")], "AWS_REGION is not set; allowed: the region of the server"),
    ] {
        let output = crate::launcher::program("http://127.0.0.1:9", settings).arg("serve").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(words), "{said}");
    }
}
