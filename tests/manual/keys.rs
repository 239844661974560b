//! The keys of the configuration, in the forms that the documents need.

use mc_service::config::Key;

use super::{Program, roff};

const TABLE: &str = "| key | default | meaning | allowed |\n|---|---|---|---|\n";
/// The line width of the shipped file.
const WIDTH: usize = 120;

/// `page` with a new table of keys.
pub(crate) fn with_table<S>(program: &Program<S>, page: &str) -> String {
    let begin = page.find(TABLE).unwrap_or_else(|| panic!("the page has no table that begins with\n{TABLE}"));
    let (before, table) = page.split_at(begin);
    let after = table.find("\n\n").map_or("", |end| &table[end + 1..]);
    let rows: String = program.keys.iter().map(|key| row(program, key)).collect();
    format!("{before}{TABLE}{rows}{after}")
}

fn row<S>(program: &Program<S>, key: &Key<S>) -> String {
    let default =
        key.default.map_or_else(|| (program.no_default)(key.name).to_owned(), |default| format!("`{default}`"));
    format!("| `{}` | {default} | {} | {} |\n", key.name, key.meaning, quotes_as_code(key.allowed_in_short()))
}

/// Text in quotes is a literal value, so it is shown as code.
fn quotes_as_code(text: &str) -> String {
    let parts = text.split('"').enumerate();
    parts.map(|(number, part)| if number % 2 == 1 { format!("`\"{part}\"`") } else { part.to_owned() }).collect()
}

/// The installed file: every key, commented out, with its default or an example.
pub(crate) fn shipped_file<S>(program: &Program<S>) -> String {
    let mut text = program.header.to_owned();
    let mut current = "";
    // TOML has no way back from a table.
    let (in_tables, first): (Vec<&Key<S>>, _) = program.keys.iter().partition(|key| key.name.contains('.'));
    for key in first.into_iter().chain(in_tables) {
        let (table, name) = key.name.split_once('.').unwrap_or(("", key.name));
        text.push('\n');
        if table != current {
            text += &format!("[{table}]\n");
            current = table;
        }
        text += &comment(key.meaning);
        text += &comment(&format!("Allowed: {}.", key.allowed_in_short()));
        text += &format!("#{name} = {}\n", key.default.map_or_else(|| example(key), str::to_owned));
    }
    text
}

/// The example in the allowed values of `key`: the first text in quotes, in a list if a list is allowed.
fn example<S>(key: &Key<S>) -> String {
    let quoted = key.allowed.split_once('"').and_then(|(before, rest)| {
        let end = before.len() + 1 + rest.find('"')? + 1;
        key.allowed.get(before.len()..end)
    });
    let quoted =
        quoted.unwrap_or_else(|| panic!("{} has neither a default nor an example in its allowed values", key.name));
    if key.allowed.starts_with("a list") { format!("[{quoted}]") } else { quoted.to_owned() }
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

/// The keys for the man page of the file.
pub(crate) fn in_man_page<S>(program: &Program<S>) -> String {
    let entry = |key: &Key<S>| {
        let default = key.default.map_or_else(|| roff::text((program.no_default)(key.name)), roff::bold);
        let (meaning, allowed) = (roff::text(key.meaning), roff::text(key.allowed));
        format!(".TP\n{}\n{meaning}\n.br\nDefault: {default}.\n.br\nAllowed: {allowed}.\n", roff::bold(key.name))
    };
    program.keys.iter().map(entry).collect()
}
