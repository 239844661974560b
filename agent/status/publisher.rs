//! The thread that writes `status.json`. A file system may hang like anything else: a picture that finds it busy is not
//! written, the next one is.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

use super::record::{NAME, Status};
use crate::whole_file;

/// Where pictures are handed in. Never waits.
#[derive(Debug)]
pub struct Publisher {
    thread: Option<(SyncSender<Status>, Receiver<()>)>,
}

impl Publisher {
    /// A publisher of nothing.
    #[must_use]
    pub fn none() -> Self {
        Publisher { thread: None }
    }

    /// Writes into `folder`. That it cannot be written to is told by whoever keeps the clocks there.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(folder: &Path) -> io::Result<Self> {
        let path = folder.join(NAME);
        let (queue, pictures) = mpsc::sync_channel::<Status>(1);
        let (finish, finished) = mpsc::sync_channel(1);
        thread::Builder::new().name("status".to_owned()).spawn(move || {
            for picture in pictures {
                // Only maps with keys that are not text and failing Serialize impls make this fail; there are none here.
                let text = serde_json::to_string(&picture).unwrap_or_default();
                // Told elsewhere, see above.
                let _ = whole_file::replace(&path, &text, 0o644);
            }
            // There is no agent any more. What cannot be removed says when it was written.
            let _ = fs::remove_file(&path);
            // Nobody may be waiting for this any more.
            let _ = finish.send(());
        })?;
        Ok(Publisher { thread: Some((queue, finished)) })
    }

    /// Writes `picture` if the last one is written.
    pub fn publish(&self, picture: &Status) {
        if let Some((queue, _)) = &self.thread {
            // Full: see above.
            let _ = queue.try_send(picture.clone());
        }
    }

    /// Takes the picture away, since nothing keeps it true from now on. Waits no longer than `patience` for that.
    pub fn finish(self, patience: Duration) {
        if let Some((queue, finished)) = self.thread {
            drop(queue);
            // Either outcome ends the wait.
            let _ = finished.recv_timeout(patience);
        }
    }
}
