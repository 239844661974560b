//! Who may start the server: whoever has the key. The keys are compared in constant time, and none of them can be printed.

use std::fmt;

use ring::hmac;

/// The cookie that stands for the key.
pub const COOKIE: &str = "__Host-mc-launcher";
/// What the cookie is made of beside the key: another form of it ends all cookies.
const COOKIE_FORM: &str = "mc-launcher cookie 1";
/// A key that is shorter than this can be guessed.
const SHORTEST: usize = 16;
/// The longest key, in bytes.
const LONGEST: usize = 256;

/// The valid keys: the new one first, and perhaps the old one, so that a key can be changed without a night without one.
#[derive(Clone)]
pub struct Keys(Vec<String>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// The keys in a parameter: one or two lines, each of 16 to 256 visible ASCII characters; `None`: it holds something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let keys: Vec<String> =
            text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let is_key =
            |key: &String| (SHORTEST..=LONGEST).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        ((1..=2).contains(&keys.len()) && keys.iter().all(is_key)).then_some(Keys(keys))
    }

    /// Whether `key` is one of them.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        // Each is compared by its tag under the other, and all of them are, so that the time tells nothing.
        let matching = self.0.iter().filter(|own| {
            let under = hmac::Key::new(hmac::HMAC_SHA256, own.as_bytes());
            hmac::verify(&under, key.as_bytes(), hmac::sign(&under, own.as_bytes()).as_ref()).is_ok()
        });
        matching.count() > 0
    }

    /// The value of the cookie for whoever has shown a key: it ends with the key that it is made of.
    #[must_use]
    pub fn cookie(&self) -> String {
        self.0.first().map_or_else(String::new, |key| tag(key))
    }

    /// Whether `cookie` was made of one of them.
    #[must_use]
    pub fn has_made(&self, cookie: &str) -> bool {
        let Some(given) = from_hex(cookie) else { return false };
        let matching = self.0.iter().filter(|key| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
            hmac::verify(&key, COOKIE_FORM.as_bytes(), &given).is_ok()
        });
        matching.count() > 0
    }
}

fn tag(key: &str) -> String {
    use fmt::Write;
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    hmac::sign(&key, COOKIE_FORM.as_bytes()).as_ref().iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| (0..32).filter_map(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = "correct-horse-battery";
    const OLD: &str = "0123456789abcdef";

    #[test]
    fn a_key_opens_and_anything_else_does_not() {
        let keys = Keys::parse(&format!("{NEW}\n{OLD}\n")).unwrap();
        assert!(keys.has(NEW) && keys.has(OLD));
        for wrong in
            ["", "correct-horse-batter", "correct-horse-battery ", "Correct-horse-battery", &format!("{NEW}{OLD}")]
        {
            assert!(!keys.has(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_cookie_ends_with_its_key() {
        let (both, new) = (Keys::parse(&format!("{NEW}\n{OLD}")).unwrap(), Keys::parse(NEW).unwrap());
        let old = Keys::parse(OLD).unwrap().cookie();
        assert!(both.has_made(&old) && both.has_made(&both.cookie()));
        assert!(new.has_made(&both.cookie()) && !new.has_made(&old));
        for wrong in ["", NEW, &"0".repeat(64), &old[..63], &format!("{old}0"), &"é".repeat(32)] {
            assert!(!both.has_made(wrong), "{wrong}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_none_is_printed() {
        for text in [
            "",
            "short",
            "a key with spaces",
            &"k".repeat(257),
            &format!("{NEW}\n{OLD}\n{NEW}"),
            "pässwörterpässwörter",
        ] {
            assert!(Keys::parse(text).is_none(), "{text}");
        }
        let shown = format!("{:?}", Keys::parse(NEW).unwrap());
        assert_eq!(shown, "Keys(1)");
    }
}
