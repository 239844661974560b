//! Is EFS mounted, and does it answer?

use std::path::PathBuf;

use mc_idle_rule::Efs;
use tokio::task::JoinSet;

use crate::check::CheckContext;
use crate::check::finding::{Check, Finding};
use crate::config::settings::MountPoint;
use crate::host::mounts::efs::{self, JudgedMount, WatchedMount};
use crate::host::mounts::probe::{self, ProbeResults, ProbeTarget};

/// At most this many mounts are listed; a machine may have any number.
const MOUNTS_MOST: usize = 8;

/// Probes every mount, each with its own deadline, at most as many at once as there may be helpers.
pub async fn ask<H>(watched: &[WatchedMount], subject: &CheckContext<'_, H>) -> Vec<JudgedMount> {
    let settings = &subject.settings.efs;
    let mut probe_results = ProbeResults::new();
    for targets in efs::targets(watched, settings).chunks(probe::HELPERS_MOST) {
        let mut asked = JoinSet::new();
        for ProbeTarget { mount, deadline } in targets.iter().cloned() {
            let helper = subject.helper.to_owned();
            asked.spawn(async move {
                let answer = probe::ask(&helper, &mount.at, deadline).await;
                (mount, answer)
            });
        }
        probe_results.extend(asked.join_all().await);
    }
    efs::judge(watched.to_vec(), &probe_results, &settings.mount_point)
}

/// The folders on EFS that may contain the server's own configuration.
#[must_use]
pub fn folders(mounts: &[JudgedMount]) -> Vec<PathBuf> {
    let named = mounts.iter().filter_map(|mount| mount.watched.named());
    named.take(MOUNTS_MOST).map(PathBuf::from).collect()
}

/// The finding about `mounts`. `later` are the mounts made on demand, which count once they are in use.
#[must_use]
pub fn weigh(mounts: &[JudgedMount], later: &[PathBuf], mount_point: &MountPoint) -> Finding {
    let check = Check::Efs;
    if mounts.is_empty() {
        return match (later, mount_point) {
            ([], MountPoint::Auto) => {
                Finding::ok(check, "nothing is on EFS: no NFS is mounted, and /etc/fstab mounts none at boot")
            }
            ([], _) => Finding::ok(check, "nothing is on EFS"),
            (later, _) => {
                let later: Vec<String> = later.iter().map(|path| path.display().to_string()).collect();
                let text = "nothing is on EFS yet: /etc/fstab mounts NFS on demand, and it counts once it is in use";
                Finding::note(check, format!("{text}: {}", later.join(", ")))
            }
        };
    }
    let text = mounts.iter().take(MOUNTS_MOST).map(in_words).collect::<Vec<_>>().join("; ");
    match efs::worst(mounts.iter().map(|mount| mount.state)) {
        Efs::Missing => Finding::failed(check, format!("{text}; mount it, or set efs.mount_point")),
        Efs::Hung => Finding::failed(check, text),
        Efs::Off | Efs::Mounted | Efs::Unproven if mounts.iter().any(|mount| mount.trouble.is_some()) => {
            Finding::note(check, format!("{text}; a hang would go unnoticed"))
        }
        Efs::Off | Efs::Mounted | Efs::Unproven => Finding::ok(check, text),
    }
}

fn in_words(mount: &JudgedMount) -> String {
    let text = mount.in_words();
    match (&mount.watched, mount.state, &mount.trouble) {
        (WatchedMount::Mounted { named, mount }, Efs::Mounted, None) if *named == mount.at => {
            format!("{text}, and answers")
        }
        (WatchedMount::Mounted { .. }, Efs::Mounted, None) => format!("{text}, which answers"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::mounts::mountinfo::NfsMount;

    fn mounted(named: &str, state: Efs, trouble: Option<&str>) -> JudgedMount {
        let mount = NfsMount { id: 98, at: "/mnt/efs".into() };
        JudgedMount {
            watched: WatchedMount::Mounted { named: named.into(), mount },
            state,
            trouble: trouble.map(str::to_owned),
        }
    }

    fn missing() -> JudgedMount {
        let why = "/etc/fstab has a line for /mnt/efs, but nothing is mounted there".to_owned();
        JudgedMount {
            watched: WatchedMount::Missing { named: "/mnt/efs".into(), why },
            state: Efs::Missing,
            trouble: None,
        }
    }

    #[test]
    fn the_line_says_on_which_mount_it_is_and_what_to_do() {
        let (fine, link) = (mounted("/mnt/efs", Efs::Mounted, None), mounted("/srv/mc", Efs::Mounted, None));
        let hung = mounted("/mnt/efs", Efs::Hung, Some("no answer within 5.0 s"));
        let barred = mounted("/mnt/efs", Efs::Mounted, Some("the user of the probe has no access to it"));
        let auto = MountPoint::Auto;
        for (mounts, later, mount_point, line) in [
            (vec![], None, &MountPoint::Nowhere, "ok      EFS: nothing is on EFS"),
            (
                vec![],
                None,
                &auto,
                "ok      EFS: nothing is on EFS: no NFS is mounted, and /etc/fstab mounts none at boot",
            ),
            (
                vec![],
                Some("/mnt/auto"),
                &auto,
                "note    EFS: nothing is on EFS yet: /etc/fstab mounts NFS on demand, and it counts once it is in use: \
                 /mnt/auto",
            ),
            (vec![fine.clone()], None, &auto, "ok      EFS: mounted at /mnt/efs, and answers"),
            (vec![link.clone()], None, &auto, "ok      EFS: /srv/mc is on the mount /mnt/efs, which answers"),
            (
                vec![missing()],
                None,
                &auto,
                "FAILED  EFS: /etc/fstab has a line for /mnt/efs, but nothing is mounted there; mount it, or set \
                 efs.mount_point",
            ),
            (
                vec![hung, link],
                None,
                &auto,
                "FAILED  EFS: mounted at /mnt/efs, but no answer within 5.0 s; /srv/mc is on the mount /mnt/efs, which answers",
            ),
            (
                vec![barred],
                None,
                &auto,
                "note    EFS: mounted at /mnt/efs, but the user of the probe has no access to it; a hang would go \
                 unnoticed",
            ),
        ] {
            let later: Vec<PathBuf> = later.into_iter().map(PathBuf::from).collect();
            assert_eq!(weigh(&mounts, &later, mount_point).to_string(), line);
        }
    }
}
