//! The kernel's counters of a network: sockets in use (`sockstat`, `sockstat6`) and bytes received (`dev`), in
//! `/proc/PID/net`. Reading them takes microseconds, however long the tables are.

use std::path::Path;

/// Which sockets are in use in a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InUse {
    pub tcp: bool,
    pub udp: bool,
}

/// Reads `sockstat` and `sockstat6` in `net`, the folder `/proc/PID/net`. A protocol counts as in use unless they say
/// that it is not.
#[must_use]
pub fn in_use(net: &Path) -> InUse {
    let texts = ["sockstat", "sockstat6"].map(|name| std::fs::read_to_string(net.join(name)));
    // Without IPv6 the second file does not exist.
    let of = |protocol: &str| match &texts {
        [Ok(v4), Ok(v6)] => used(v4, protocol) || used(v6, &format!("{protocol}6")),
        [Ok(v4), Err(error)] if error.kind() == std::io::ErrorKind::NotFound => used(v4, protocol),
        _ => true,
    };
    InUse { tcp: of("TCP"), udp: of("UDP") }
}

fn used(sockstat: &str, protocol: &str) -> bool {
    let line = sockstat.lines().find_map(|line| line.strip_prefix(protocol)?.strip_prefix(": inuse "));
    line.and_then(|rest| rest.split_ascii_whitespace().next()) != Some("0")
}

/// The bytes that all interfaces of a network have received, loopback included; `None` if not available.
#[must_use]
pub fn received(net: &Path) -> Option<u64> {
    sum(&std::fs::read_to_string(net.join("dev")).ok()?)
}

fn sum(dev: &str) -> Option<u64> {
    let mut total: u64 = 0;
    // Two header lines (proc_pid_net(5)).
    for line in dev.lines().skip(2) {
        let (_, counters) = line.split_once(':')?;
        total = total.checked_add(counters.split_ascii_whitespace().next()?.parse().ok()?)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_a_plain_zero_is_unused() {
        let text =
            |tcp: &str| format!("sockets: used 7\nTCP: inuse {tcp} orphan 0 tw 1 alloc 0 mem 0\nUDP: inuse 0 mem 0\n");
        assert!(!used(&text("0"), "TCP"));
        assert!(used(&text("3"), "TCP") && used(&text("x"), "TCP") && used("", "TCP"));
    }

    #[test]
    fn every_interface_counts() {
        let dev = "Inter-|   Receive                                                |  Transmit\n \
             face |bytes    packets errs\n    lo:     100       1    0\n  eth0: 23    4 0\n";
        assert_eq!(sum(dev), Some(123));
        assert_eq!(sum("a\nb\nlo 7\n"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in any::<String>()) {
            let _ = (used(&text, "TCP"), sum(&text));
        }
    }
}
