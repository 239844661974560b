//! Text in the markup of man pages (groff_man(7)).

/// `text`, with code between backticks in bold.
pub(crate) fn text(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts.map(|(number, part)| if number % 2 == 1 { bold(part) } else { plain(part) }).collect()
}

pub(crate) fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", plain(text))
}

/// In italics, for placeholders.
pub(crate) fn italic(text: &str) -> String {
    format!("\\fI{}\\fR", plain(text))
}

/// Escapes everything that roff would read as a request or an escape.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq").replace('\'', "\\(aq");
    if text.starts_with('.') { format!("\\&{text}") } else { text }
}
