//! Makes text that somebody else wrote safe to show in a terminal, the journal or elsewhere: a hold's reason, the name
//! of a file or of a player, a message from AWS.
//!
//! Such a text may contain a newline that forges a line, an escape sequence that the terminal obeys, or a character
//! that changes the direction of what follows it. All of them are written out instead. This is done where text leaves
//! the program, not where it comes in, so that none is missed.

use std::borrow::Cow;
use std::fmt::Write;

/// `text` with every invisible character written out, such as `\n`, `\u202e` or `\U000e0001`.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(shows) {
        return Cow::Borrowed(text);
    }
    let mut visible = String::with_capacity(text.len() + 16);
    for char in text.chars() {
        // Writing to a String cannot fail.
        let _ = match (char, u32::from(char)) {
            (_, _) if shows(char) => visible.write_char(char),
            ('\n', _) => visible.write_str("\\n"),
            ('\r', _) => visible.write_str("\\r"),
            ('\t', _) => visible.write_str("\\t"),
            (_, code @ ..=0xffff) => write!(visible, "\\u{code:04x}"),
            (_, code) => write!(visible, "\\U{code:08x}"),
        };
    }
    Cow::Owned(visible)
}

/// The same for a JSON document, without changing its meaning. Between its values, newlines are the only invisible
/// characters, and those stay: inside a value there are none (RFC 8259, 7).
#[must_use]
pub fn json(document: &str) -> String {
    let mut visible = String::with_capacity(document.len());
    for char in document.chars() {
        if shows(char) || char == '\n' {
            visible.push(char);
        } else {
            for unit in char.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(visible, "\\u{unit:04x}");
            }
        }
    }
    visible
}

/// Whether a reader sees this character, and sees it in its place. That excludes control characters (general category
/// Cc), line and paragraph separators (Zl, Zp), and format characters (Cf, Unicode 16) except the few that are signs of
/// a script.
fn shows(char: char) -> bool {
    !matches!(char,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // The soft hyphen, direction marks, zero-width characters and the separators.
        | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        // Controls of shorthand and musical notation, and invisible tags.
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_does_not_show_is_written_out() {
        for (text, visible) in [
            ("nightly backup, très tôt, 夜, 🎮", "nightly backup, très tôt, 夜, 🎮"),
            ("one\nok      EFS: fine", "one\\nok      EFS: fine"),
            ("\x1b[2J\x07\r\t\0", "\\u001b[2J\\u0007\\r\\t\\u0000"),
            ("\u{7f}\u{9b}31m\u{85}", "\\u007f\\u009b31m\\u0085"),
            ("exe\u{202e}gpj", "exe\\u202egpj"),
            ("\u{200e}\u{200f}\u{202a}\u{2066}\u{2069}\u{61c}", "\\u200e\\u200f\\u202a\\u2066\\u2069\\u061c"),
            ("a\u{200b}\u{200c}\u{200d}\u{feff}b", "a\\u200b\\u200c\\u200d\\ufeffb"),
            ("\u{2028}\u{2029}\u{e0041}", "\\u2028\\u2029\\U000e0041"),
        ] {
            assert_eq!(printable(text), visible);
        }
        assert!(matches!(printable("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn a_json_document_means_what_it_meant() {
        let value = serde_json::json!({"reason": "a\u{202e}b\nc\u{e0041}\u{7f}\"", "name\u{200b}": ["é", "🎮"]});
        let document = json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(document.contains("a\\u202eb\\nc\\udb40\\udc41\\u007f\\\""), "{document}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&document).unwrap(), value);
    }

    proptest! {
        #[test]
        fn nothing_that_does_not_show_is_left(text in any::<String>(), odd in "[\u{0}-\u{20}\u{7f}-\u{ad}\u{2000}-\u{206f}]*") {
            let text = text + &odd;
            let visible = printable(&text).into_owned();
            prop_assert!(visible.chars().all(shows));
            prop_assert!(matches!(printable(&visible), Cow::Borrowed(_)));
            let document = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&json(&document)).unwrap(), text);
        }
    }
}
