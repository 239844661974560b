//! Who writes `status.json`. A picture that finds the writer busy is not written, the next one is.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use super::record::{NAME, Status};
use crate::background::Background;
use crate::whole_file;

/// Where pictures are handed in. Never waits.
#[derive(Debug)]
pub struct Publisher {
    writer: Background<Status>,
}

impl Publisher {
    /// A publisher of nothing.
    #[must_use]
    pub fn none() -> Self {
        Publisher { writer: Background::none() }
    }

    /// Writes into `folder`. That it cannot be written to is told by whoever keeps the clocks there.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        let writing = path.clone();
        let work = move |picture: Status| {
            // Only maps with keys that are not text and failing Serialize impls make this fail; there are none here.
            let text = serde_json::to_string(&picture).unwrap_or_default();
            // Told elsewhere, see above.
            let _ = whole_file::replace(&writing, &text, 0o644);
        };
        // There is no agent any more. What cannot be removed says when it was written.
        let end = move || drop(fs::remove_file(&path));
        Ok(Publisher { writer: Background::start_with_end("status", work, end)? })
    }

    /// Writes `picture` if the last one is written.
    pub fn publish(&self, picture: Status) {
        // Busy: see above.
        let _ = self.writer.hand_in(picture);
    }

    /// Takes the picture away, since nothing keeps it true from now on. Waits no longer than `patience` for that.
    pub fn finish(self, patience: Duration) {
        self.writer.finish(patience);
    }
}
