//! What the host shows: the mount, a server, and where that runs.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::finding::{Check, Finding};
use super::teller::Teller;
use super::{Subject, properties};
use crate::config::settings::{EfsSettings, Scope};
use crate::error::chain;
use crate::host::mountinfo::Mount;
use crate::host::published::Place;
use crate::host::server::{self, ServerError};
use crate::host::{Host, probe};
use crate::idle::{Reading, Seen};

/// Tells everything that can be seen on the host.
///
/// # Errors
/// A finding cannot be told.
pub async fn run(subject: &mut Subject<'_, impl Host>, teller: &mut Teller<impl Write>) -> io::Result<()> {
    let efs = match subject.settings.efs() {
        None => Ok("nothing is on EFS".to_owned()),
        Some(efs) => mount(efs, subject).await,
    };
    let answers = efs.is_ok();
    teller.tell(Finding::of(Check::Efs, efs))?;

    let scope = &subject.settings.scope;
    let ports = scope.in_words();
    let listener = match subject.host.sample(scope).reading {
        Reading::Unknown(why) => Err(why),
        Reading::Seen(seen) if seen.listener => Ok(format!("a server listens on {ports}; {}", connected(&seen))),
        Reading::Seen(_) => Err(format!("nothing listens on {ports}; start the server, or set minecraft.ports")),
    };
    let listens = listener.is_ok();
    teller.tell(Finding::of(Check::Listener, listener))?;
    teller.tell(container(server::place(subject.proc, scope), scope))?;
    teller.tell(properties::check(subject, answers, listens).await)
}

async fn mount(efs: &EfsSettings, subject: &mut Subject<'_, impl Host>) -> Result<String, String> {
    let mount_point = efs.mount_point.display();
    if let Mount::Missing(why) = subject.host.mount(efs) {
        return Err(format!("{why}; mount it, or set efs.mount_point"));
    }
    match probe::ask(subject.helper, &efs.mount_point, efs.probe).await {
        Ok(()) => Ok(format!("mounted at {mount_point}, and answers")),
        Err(why) => Err(format!("mounted at {mount_point}, but {why}")),
    }
}

/// Whoever may run this on the host may also see the addresses.
fn connected(seen: &Seen) -> String {
    let peers: BTreeSet<String> = seen.sockets.iter().map(|socket| socket.peer.to_string()).collect();
    if peers.is_empty() {
        return "nobody is connected".to_owned();
    }
    format!("connected: {}", peers.into_iter().collect::<Vec<_>>().join(", "))
}

fn container(place: Result<Place, ServerError>, scope: &Scope) -> Finding {
    let check = Check::Container;
    match place {
        Ok(Place { on_the_host: true, in_a_container: false }) => {
            Finding::ok(check, "the server runs on the host itself")
        }
        Ok(Place { on_the_host: false, in_a_container: false }) => Finding::not_run(check, "no server listens"),
        Ok(Place { in_a_container: true, .. }) if !scope.containers => Finding::failed(
            check,
            "a server is in a container, where its players are not counted: set minecraft.containers = true",
        ),
        Ok(Place { on_the_host: false, in_a_container: true }) => {
            Finding::ok(check, "the server is in a container, and its players are counted there")
        }
        Ok(Place { on_the_host: true, in_a_container: true }) => {
            Finding::ok(check, "there is a server on the host itself and one in a container, and both count")
        }
        // The listener has failed for the same reason.
        Err(error) if scope.containers => Finding::not_run(check, chain(&error)),
        Err(error) => Finding::note(check, format!("{}; minecraft.containers = false goes by that", chain(&error))),
    }
}
