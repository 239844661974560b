//! The keys of the configuration, in the forms that the documents need.

use mc_idle::config::Settings;
use mc_idle::config::keys::KEYS;
use mc_service::config::Key;

use super::roff;

/// The default of keys that have none of their own.
const FROM_METADATA: &str = "from instance metadata";
const TABLE: &str = "| key | default | meaning | allowed |\n|---|---|---|---|\n";
const HEADER: &str = "\
# Configuration of mc-idle; see mc-idle.toml(5). Every key is optional; the commented-out values are the defaults.
# Put site settings into separate files, /etc/mc-idle/config.d/*.toml, which are read after this one in name order.
# `mc-idle check` reports mistakes; `systemctl reload mc-idle` applies changes without touching the clocks.
";
/// The line width of the shipped file.
const WIDTH: usize = 120;

/// `page`, which is `docs/configuration.md`, with a new table of keys.
pub(crate) fn with_table(page: &str) -> String {
    let begin = page.find(TABLE).unwrap_or_else(|| panic!("the page has no table that begins with\n{TABLE}"));
    let (before, table) = page.split_at(begin);
    let after = table.find("\n\n").map_or("", |end| &table[end + 1..]);
    let rows: String = KEYS.iter().map(row).collect();
    format!("{before}{TABLE}{rows}{after}")
}

fn row(key: &Key<Settings>) -> String {
    let default = key.default.map_or_else(|| FROM_METADATA.to_owned(), |default| format!("`{default}`"));
    format!("| `{}` | {default} | {} | {} |\n", key.name, key.meaning, quotes_as_code(key.allowed_in_short()))
}

/// Text in quotes is a literal value, so it is shown as code.
fn quotes_as_code(text: &str) -> String {
    let parts = text.split('"').enumerate();
    parts.map(|(number, part)| if number % 2 == 1 { format!("`\"{part}\"`") } else { part.to_owned() }).collect()
}

/// The installed file: every key, commented out, with its default or an example.
pub(crate) fn shipped_file() -> String {
    let mut text = HEADER.to_owned();
    let mut current = "";
    for key in KEYS {
        let (table, name) = key.name.split_once('.').unwrap_or(("", key.name));
        text.push('\n');
        if table != current {
            text += &format!("[{table}]\n");
            current = table;
        }
        text += &comment(key.meaning);
        text += &comment(&format!("Allowed: {}.", key.allowed_in_short()));
        text += &format!("#{name} = {}\n", key.default.unwrap_or_else(|| in_quotes(key)));
    }
    text
}

/// The example in the allowed values of `key`: the first text in quotes.
fn in_quotes(key: &Key<Settings>) -> &'static str {
    let quoted = key.allowed.split_once('"').and_then(|(before, rest)| {
        let end = before.len() + 1 + rest.find('"')? + 1;
        key.allowed.get(before.len()..end)
    });
    quoted.unwrap_or_else(|| panic!("{} has neither a default nor an example in its allowed values", key.name))
}

fn comment(text: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in text.split_whitespace() {
        if lines.last().is_some_and(|line| line.chars().count() + 1 + word.chars().count() > WIDTH) {
            lines.push("#".to_owned());
        }
        if let Some(line) = lines.last_mut() {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

/// The keys for mc-idle.toml(5).
pub(crate) fn in_man_page() -> String {
    let entry = |key: &Key<Settings>| {
        let default = key.default.map_or_else(|| roff::text(FROM_METADATA), roff::bold);
        let (meaning, allowed) = (roff::text(key.meaning), roff::text(key.allowed));
        format!(".TP\n{}\n{meaning}\n.br\nDefault: {default}.\n.br\nAllowed: {allowed}.\n", roff::bold(key.name))
    };
    KEYS.iter().map(entry).collect()
}
