//! The thread that writes `status.json`. A file system may hang like anything else: a picture that finds it busy is not
//! written, the next one is.

use std::io;
use std::path::Path;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use super::record::{NAME, Status};
use crate::whole_file;

/// Where pictures are handed in. Never waits.
#[derive(Debug)]
pub struct Publisher {
    queue: Option<SyncSender<Status>>,
}

impl Publisher {
    /// A publisher of nothing.
    #[must_use]
    pub fn none() -> Self {
        Publisher { queue: None }
    }

    /// Writes into `folder`. That it cannot be written to is told by whoever keeps the clocks there.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        let (queue, pictures) = mpsc::sync_channel::<Status>(1);
        thread::Builder::new().name("status".to_owned()).spawn(move || {
            for picture in pictures {
                // Only maps with keys that are not text and failing Serialize impls make this fail; there are none here.
                let text = serde_json::to_string(&picture).unwrap_or_default();
                // Told elsewhere, see above.
                let _ = whole_file::replace(&path, &text, 0o644);
            }
        })?;
        Ok(Publisher { queue: Some(queue) })
    }

    /// Writes `picture` if the last one is written.
    pub fn publish(&self, picture: &Status) {
        if let Some(queue) = &self.queue {
            // Full: see above.
            let _ = queue.try_send(picture.clone());
        }
    }
}
