//! The least that a service of systemd's `Type=notify` can do: it says READY=1 and waits for its end. What the start of mc-idle is
//! measured against.

use std::io;
use std::thread;

use sd_notify::NotifyState;

fn main() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Ready])?;
    loop {
        thread::park();
    }
}
