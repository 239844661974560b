//! The keys of the configuration, as they are told in several places.

use mc_idle::config::keys::{KEYS, Key};

use super::roff;

/// What a key without a default has instead.
const FROM_METADATA: &str = "from instance metadata";
const TABLE: &str = "| key | default | meaning | allowed |\n|---|---|---|---|\n";
const HEADER: &str = "\
# mc-idle's configuration, explained in mc-idle.toml(5). Every key is optional; what stands behind # is the default.
# Site settings go into files of their own: /etc/mc-idle/config.d/*.toml, read after this one in name order.
# `mc-idle check` tells what is wrong, `systemctl reload mc-idle` takes changes up without touching the clocks.
";
/// The longest line of the shipped file.
const WIDTH: usize = 120;

/// The README with its table of keys made anew.
pub(crate) fn with_table(readme: &str) -> String {
    let begin = readme.find(TABLE).unwrap_or_else(|| panic!("the README has no table that begins with\n{TABLE}"));
    let (before, table) = readme.split_at(begin);
    let after = table.find("\n\n").map_or("", |end| &table[end + 1..]);
    let rows: String = KEYS.iter().map(row).collect();
    format!("{before}{TABLE}{rows}{after}")
}

fn row(key: &Key) -> String {
    let default = key.default.map_or_else(|| FROM_METADATA.to_owned(), |default| format!("`{default}`"));
    format!("| `{}` | {default} | {} | {} |\n", key.name, key.meaning, quotes_as_code(key.allowed_in_short()))
}

/// What stands in quotes is written like that in the file.
fn quotes_as_code(text: &str) -> String {
    let parts = text.split('"').enumerate();
    parts.map(|(number, part)| if number % 2 == 1 { format!("`\"{part}\"`") } else { part.to_owned() }).collect()
}

/// The file that is installed: every key with its default, or an example, behind a #.
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

/// The value in quotes that what is allowed for `key` gives as an example.
fn in_quotes(key: &Key) -> &'static str {
    let quoted = key.allowed.split_once('"').and_then(|(before, rest)| {
        let end = before.len() + 1 + rest.find('"')? + 1;
        key.allowed.get(before.len()..end)
    });
    quoted.unwrap_or_else(|| panic!("{} has neither a default nor an example in what is allowed", key.name))
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

/// The keys in mc-idle.toml(5).
pub(crate) fn in_man_page() -> String {
    let entry = |key: &Key| {
        let default = key.default.map_or_else(|| roff::text(FROM_METADATA), roff::bold);
        let (meaning, allowed) = (roff::text(key.meaning), roff::text(key.allowed));
        format!(".TP\n{}\n{meaning}\n.br\nDefault: {default}.\n.br\nAllowed: {allowed}.\n", roff::bold(key.name))
    };
    KEYS.iter().map(entry).collect()
}
