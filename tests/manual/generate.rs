//! Generates the man pages, the completions, the shipped configuration and the documented table of keys: `make docs`.

#[path = "mod.rs"]
mod manual;

use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).ok_or(io::ErrorKind::NotFound)?;
    for made in manual::all(checkout) {
        let path = checkout.join(&made.path);
        if fs::read_to_string(&path).ok().as_ref() != Some(&made.text) {
            fs::create_dir_all(path.parent().unwrap_or(checkout))?;
            fs::write(&path, made.text)?;
            println!("updated {}", made.path.display());
        }
    }
    Ok(())
}
