//! A server's answer, reduced to what is trusted: a count, and some names that are safe to show.

/// At most this many names are kept.
pub const MOST_NAMES: usize = 20;
/// At most this many characters of a name are kept. Java names have at most 16, Bedrock names 20 with Geyser's prefix.
pub const LONGEST_NAME: usize = 32;

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    pub online: u32,
    /// Some of their names: never more than are online, nor more than [`MOST_NAMES`], each with 1 to [`LONGEST_NAME`]
    /// characters, none of which moves the cursor, is invisible or changes the direction of text. May be empty: Bedrock
    /// gives no names, and neither does a server with `hide-online-players`.
    pub names: Vec<String>,
}

impl Answer {
    /// `online` players, among them `names` as the server wrote them.
    #[must_use]
    pub fn new(online: u32, names: impl IntoIterator<Item = String>) -> Self {
        let most = usize::try_from(online).unwrap_or(usize::MAX).min(MOST_NAMES);
        let names = names.into_iter().map(|name| harmless(&name)).filter(|name| !name.is_empty());
        Answer { online, names: names.take(most).collect() }
    }
}

fn harmless(name: &str) -> String {
    let shown = |char| if is_harmful(char) { char::REPLACEMENT_CHARACTER } else { char };
    name.trim().chars().take(LONGEST_NAME).map(shown).collect()
}

/// Whether `char` affects the terminal, the line or the characters next to it: control characters, line and paragraph
/// separators, and Unicode's format characters (general category Cf), which include direction marks.
fn is_harmful(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
            | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(online: u32, names: &[&str]) -> Vec<String> {
        Answer::new(online, names.iter().map(|name| (*name).to_owned())).names
    }

    #[test]
    fn names_are_kept_as_they_are_unless_they_could_do_harm() {
        assert_eq!(names(3, &["steve", ".alex B", "Zoë"]), ["steve", ".alex B", "Zoë"]);
        assert_eq!(names(2, &["a\u{1b}[2Jb\nc", "\u{202e}live"]), ["a\u{fffd}[2Jb\u{fffd}c", "\u{fffd}live"]);
        assert_eq!(names(9, &["", "  ", " x "]), ["x"]);
    }

    #[test]
    fn an_empty_server_has_no_names_whatever_it_writes_there() {
        assert_eq!(names(0, &["Welcome to our server"]), [""; 0]);
        assert_eq!(names(1, &["steve", "and vote for us"]), ["steve"]);
    }

    proptest! {
        #[test]
        fn names_are_few_short_and_harmless(online in any::<u32>(), written in prop::collection::vec(any::<String>(), 0..50)) {
            let Answer { names, .. } = Answer::new(online, written);
            prop_assert!(names.len() <= MOST_NAMES);
            for name in names {
                prop_assert!((1..=LONGEST_NAME).contains(&name.chars().count()));
                prop_assert!(!name.chars().any(is_harmful));
            }
        }
    }
}
