//! Which mounts the agent watches as EFS, and what state they are in. Pure. Over 400 lines, nearly half of them tests.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use mc_idle_rule::Efs;

use crate::config::settings::{EfsSettings, MountPoint};
use crate::host::mounts::fstab::Fstab;
use crate::host::mounts::location::{self, FileKind, Location};
use crate::host::mounts::mountinfo::{NfsMount, Table};
use crate::host::mounts::probe::{HelperAnswer, ProbeResults, ProbeTarget};

/// What can be known about a host's mounts without accessing any of them.
pub struct MountEvidence<'t> {
    /// What is mounted, or why that is unknown.
    pub table: Result<Table<'t>, String>,
    /// What is to be mounted at boot, or why that is unknown.
    pub fstab: Result<Fstab, String>,
    /// Looks up a name on one of the machine's own file systems.
    pub look: &'t dyn Fn(&Path) -> FileKind,
}

/// The mounts that count, and those that will once they are used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounts {
    /// Empty if nothing is on EFS.
    pub watched: Vec<WatchedMount>,
    /// The NFS mount points that `/etc/fstab` has mounted manually or on first use, and that are not mounted now. Given
    /// only where they could count.
    pub later: Vec<PathBuf>,
}

/// A place that should be on EFS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchedMount {
    Mounted {
        /// The name that the operator or `/etc/fstab` uses.
        named: PathBuf,
        mount: NfsMount,
    },
    Missing {
        /// The name that the operator or `/etc/fstab` uses.
        named: PathBuf,
        /// What is there instead.
        why: String,
    },
    /// It is not known whether there is one; the text says why.
    Unknown(String),
}

impl WatchedMount {
    /// The name that people use for it.
    #[must_use]
    pub fn named(&self) -> Option<&Path> {
        match self {
            WatchedMount::Mounted { named, .. } | WatchedMount::Missing { named, .. } => Some(named),
            WatchedMount::Unknown(_) => None,
        }
    }

    /// The mount that it is on.
    #[must_use]
    pub fn mount(&self) -> Option<&NfsMount> {
        match self {
            WatchedMount::Mounted { mount, .. } => Some(mount),
            WatchedMount::Missing { .. } | WatchedMount::Unknown(_) => None,
        }
    }

    /// Where it is: "mounted at /mnt/efs", or why it is not.
    #[must_use]
    pub fn in_words(&self) -> String {
        match self {
            WatchedMount::Mounted { named, mount } if *named == mount.at => format!("mounted at {}", named.display()),
            WatchedMount::Mounted { named, mount } => {
                format!("{} is on the mount {}", named.display(), mount.at.display())
            }
            WatchedMount::Missing { why, .. } | WatchedMount::Unknown(why) => why.clone(),
        }
    }
}

/// A place that should be on EFS, and its state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JudgedMount {
    pub watched: WatchedMount,
    /// Never [`Efs::Off`].
    pub state: Efs,
    /// What came instead of an answer.
    pub trouble: Option<String>,
}

impl JudgedMount {
    /// Where it is and, if it does not respond, what came instead: "mounted at /mnt/efs, but no answer within 5.0 s".
    #[must_use]
    pub fn in_words(&self) -> String {
        match &self.trouble {
            Some(trouble) => format!("{}, but {trouble}", self.watched.in_words()),
            None => self.watched.in_words(),
        }
    }
}

/// The mounts that count under a setting.
#[must_use]
pub fn mounts(mount_point: &MountPoint, evidence: &MountEvidence<'_>) -> Mounts {
    let one = |watched| Mounts { watched: vec![watched], later: Vec::new() };
    match (mount_point, &evidence.table) {
        (MountPoint::Nowhere, _) => Mounts::default(),
        (MountPoint::At(named), Ok(table)) => one(at(named, table, evidence.look)),
        (MountPoint::Auto, Ok(table)) => all(table, evidence),
        (MountPoint::At(_) | MountPoint::Auto, Err(why)) => one(WatchedMount::Unknown(why.clone())),
    }
}

/// The folder that the operator names: a mount, a folder on one, or a link to either.
fn at(named: &Path, table: &Table<'_>, look: &dyn Fn(&Path) -> FileKind) -> WatchedMount {
    let named = named.to_owned();
    match location::find(table, &named, look) {
        Err(why) => WatchedMount::Missing { named, why },
        Ok(place) => match place.mount.nfs() {
            Some(mount) => WatchedMount::Mounted { named, mount },
            None => WatchedMount::Missing { why: missing(&named, &place), named },
        },
    }
}

/// All NFS mounts: those that are to be mounted at boot, and those that are mounted.
fn all(table: &Table<'_>, evidence: &MountEvidence<'_>) -> Mounts {
    let mut mounts = Mounts::default();
    let mut known = BTreeSet::new();
    match &evidence.fstab {
        Ok(fstab) => {
            for named in &fstab.at_boot {
                let watched = at_boot(named, table, evidence.look);
                if let WatchedMount::Mounted { mount, .. } = &watched
                    && !known.insert(mount.id)
                {
                    continue;
                }
                mounts.watched.push(watched);
            }
            let is_there =
                |named: &&PathBuf| !matches!(at_boot(named, table, evidence.look), WatchedMount::Mounted { .. });
            mounts.later = fstab.later.iter().filter(is_there).cloned().collect();
        }
        Err(why) => mounts.watched.push(WatchedMount::Unknown(why.clone())),
    }
    let others = table.nfs().filter_map(super::mountinfo::Mount::nfs).filter(|mount| known.insert(mount.id));
    mounts.watched.extend(others.map(|mount| WatchedMount::Mounted { named: mount.at.clone(), mount }));
    mounts
}

/// The mount point of a line of `/etc/fstab`. Lying on another NFS mount is not enough.
fn at_boot(named: &Path, table: &Table<'_>, look: &dyn Fn(&Path) -> FileKind) -> WatchedMount {
    let named = named.to_owned();
    let why = match location::find(table, &named, look) {
        Ok(place) => match place.mount.nfs().filter(|mount| mount.at == place.path) {
            Some(mount) => return WatchedMount::Mounted { named, mount },
            None => missing(&named, &place),
        },
        Err(why) => why,
    };
    WatchedMount::Missing { why: format!("/etc/fstab has a line for {}, but {why}", named.display()), named }
}

/// Describes a place that should be on an NFS mount and is not.
fn missing(named: &Path, place: &Location<'_, '_>) -> String {
    let Location { path, mount, absent, hidden } = place;
    let (shown, point, fs_type) = (path.display(), mount.point().display(), mount.fs_type);
    let leads = if named == path { String::new() } else { format!("{} leads to {shown}, and ", named.display()) };
    let what = if mount.is_automount() {
        format!("the automount at {point} has not been used yet")
    } else if let Some(absent) = absent {
        let what = if absent == path { "such folder".to_owned() } else { absent.display().to_string() };
        format!("nothing is mounted at {shown}, and there is no {what}")
    } else if path == mount.point() {
        format!("{shown} is a {fs_type} file system, not NFS")
    } else {
        format!("nothing is mounted at {shown}, which is on the {fs_type} file system at {point}")
    };
    let hidden = hidden.as_ref().map_or_else(String::new, |why| format!(" (cannot check for links on the way: {why})"));
    format!("{leads}{what}{hidden}")
}

/// The mounts to probe.
#[must_use]
pub fn targets(watched: &[WatchedMount], efs: &EfsSettings) -> Vec<ProbeTarget> {
    let mounted = watched.iter().filter_map(WatchedMount::mount);
    mounted.map(|mount| ProbeTarget { mount: mount.clone(), deadline: efs.probe }).collect()
}

/// The state of each mount by the probe results, the worst first.
///
/// A mount that the agent's own user may not access cannot be probed. If the operator has named it, it counts as hung
/// until that is fixed. One that was only found, such as a volume in a container engine's own folder, counts as
/// mounted: nobody has asked for it, and a termination would wait for it forever.
#[must_use]
pub fn judge(watched: Vec<WatchedMount>, probe_results: &ProbeResults, mount_point: &MountPoint) -> Vec<JudgedMount> {
    let judge = |watched: WatchedMount| {
        let (state, trouble) = match &watched {
            WatchedMount::Missing { .. } | WatchedMount::Unknown(_) => (Efs::Missing, None),
            WatchedMount::Mounted { mount, .. } => match probe_results.get(mount) {
                None => (Efs::Unproven, None),
                Some(HelperAnswer::Came) => (Efs::Mounted, None),
                Some(HelperAnswer::Barred(why)) if *mount_point == MountPoint::Auto => {
                    (Efs::Mounted, Some(why.clone()))
                }
                Some(HelperAnswer::Barred(why) | HelperAnswer::Failed(why)) => (Efs::Hung, Some(why.clone())),
            },
        };
        JudgedMount { watched, state, trouble }
    };
    let mut judged: Vec<JudgedMount> = watched.into_iter().map(judge).collect();
    judged.sort_by_key(|mount| Reverse(badness(mount.state)));
    judged
}

/// The state of several mounts together: the worst. Of none: nothing is on EFS.
#[must_use]
pub fn worst(states: impl IntoIterator<Item = Efs>) -> Efs {
    states.into_iter().max_by_key(|state| badness(*state)).unwrap_or(Efs::Off)
}

fn badness(state: Efs) -> u8 {
    match state {
        Efs::Off => 0,
        Efs::Mounted => 1,
        Efs::Unproven => 2,
        Efs::Missing => 3,
        Efs::Hung => 4,
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    const ROOT: &str = "29 1 259:1 / / rw - xfs /dev/nvme0n1p1 rw\n";
    const EFS: &str = "98 29 0:51 / /mnt/efs rw - nfs4 127.0.0.1:/ rw\n";
    const OLD: &str = "96 29 0:49 / /mnt/old rw - nfs 10.0.0.9:/ rw\n";
    const BELOW: &str = "95 98 0:48 / /mnt/efs/world rw - tmpfs tmpfs rw\n";
    const AUTOMOUNT: &str = "97 29 0:50 / /mnt/auto rw - autofs systemd-1 rw,direct\n";
    const AUTO: MountPoint = MountPoint::Auto;

    /// `/srv/mc` is a link to a folder on EFS, `/srv/data` one to a folder on the root file system.
    fn disk(path: &Path) -> FileKind {
        match path.to_str() {
            Some("/srv/mc") => FileKind::Link("/mnt/efs/minecraft".into()),
            Some("/srv/data") => FileKind::Link("/data".into()),
            Some("/srv/efs") => FileKind::Link("/mnt/efs".into()),
            Some("/nowhere") => FileKind::Absent,
            Some(path) if path.starts_with("/home/game") => FileKind::Hidden("Permission denied".into()),
            _ => FileKind::Plain,
        }
    }

    fn found(mount_point: &MountPoint, table: &[&str], fstab: &str) -> Mounts {
        let text = table.concat();
        let table = Table::parse(text.as_bytes()).map_err(|error| error.to_string());
        mounts(mount_point, &MountEvidence { table, fstab: Ok(Fstab::parse(fstab.as_bytes())), look: &disk })
    }

    /// What is said about every place.
    fn said(mounts: &Mounts) -> Vec<String> {
        mounts.watched.iter().map(WatchedMount::in_words).collect()
    }

    #[test]
    fn a_folder_stands_for_the_mount_that_it_is_on() {
        for (named, says) in [
            ("/mnt/efs", "mounted at /mnt/efs"),
            ("/mnt/old", "mounted at /mnt/old"),
            ("/mnt/efs/minecraft/survival", "/mnt/efs/minecraft/survival is on the mount /mnt/efs"),
            ("/srv/mc", "/srv/mc is on the mount /mnt/efs"),
            ("/srv/mc/world", "/srv/mc/world is on the mount /mnt/efs"),
            ("/mnt/efs/world", "/mnt/efs/world is a tmpfs file system, not NFS"),
            ("/mnt/auto/world", "the automount at /mnt/auto has not been used yet"),
            ("/mnt", "nothing is mounted at /mnt, which is on the xfs file system at /"),
            (
                "/srv/data",
                "/srv/data leads to /data, and nothing is mounted at /data, which is on the xfs file system at /",
            ),
            ("/nowhere/efs", "nothing is mounted at /nowhere/efs, and there is no /nowhere"),
            (
                "/home/game/efs",
                "nothing is mounted at /home/game/efs, which is on the xfs file system at / (cannot check for links on \
                 the way: Permission denied)",
            ),
        ] {
            let found = found(&MountPoint::At(named.into()), &[ROOT, EFS, OLD, BELOW, AUTOMOUNT], "");
            assert_eq!(said(&found), [says], "{named}");
        }
    }

    #[test]
    fn auto_is_what_is_mounted_and_what_is_mounted_at_boot() {
        let fstab = "fs-1:/ /mnt/efs efs _netdev 0 0\nfs-2:/ /srv/gone nfs4 nofail 0 0\nfs-3:/ /mnt/auto efs noauto,x-systemd.automount\n";
        assert_eq!(
            said(&found(&AUTO, &[ROOT, EFS, OLD, BELOW, AUTOMOUNT], fstab)),
            [
                "mounted at /mnt/efs",
                "/etc/fstab has a line for /srv/gone, but nothing is mounted at /srv/gone, which is on the xfs file system at /",
                "mounted at /mnt/old",
            ]
        );
        // A line that names the mount by a link to it is about the same mount.
        assert_eq!(
            said(&found(&AUTO, &[ROOT, EFS], "fs-1:/ /srv/efs efs _netdev")),
            ["/srv/efs is on the mount /mnt/efs"]
        );
        // And one for a place on another mount is about a separate mount.
        let nested = said(&found(&AUTO, &[ROOT, EFS], "fs-9:/ /mnt/efs/more efs _netdev"));
        assert!(nested.len() == 2 && nested[0].contains("nothing is mounted at /mnt/efs/more"), "{nested:?}");
    }

    #[test]
    fn auto_with_nothing_there_is_nothing_and_what_cannot_be_known_is_not() {
        assert_eq!(found(&AUTO, &[ROOT], "UUID=1 / xfs defaults 0 0\n"), Mounts::default());
        assert_eq!(found(&MountPoint::Nowhere, &[ROOT, EFS], "fs-1:/ /mnt/gone efs defaults"), Mounts::default());
        let later = found(&AUTO, &[ROOT, AUTOMOUNT], "fs-3:/ /mnt/auto efs x-systemd.automount\n");
        assert_eq!((said(&later), later.later), (vec![], vec![PathBuf::from("/mnt/auto")]));

        assert_eq!(said(&found(&AUTO, &[EFS], "")), ["no entry for /"]);
        let table = Table::parse(ROOT.as_bytes()).map_err(|error| error.to_string());
        let evidence = MountEvidence { table, fstab: Err("cannot read it".to_owned()), look: &disk };
        let judged = judge(mounts(&AUTO, &evidence).watched, &ProbeResults::new(), &AUTO);
        assert_eq!(worst(judged.iter().map(|mount| mount.state)), Efs::Missing);
    }

    #[test]
    fn a_mount_that_the_agent_may_not_go_to_counts_as_hung_only_if_somebody_has_named_it() {
        let barred =
            ProbeResults::from([(NfsMount { id: 98, at: "/mnt/efs".into() }, HelperAnswer::Barred("no".to_owned()))]);
        for (mount_point, state) in [(AUTO, Efs::Mounted), (MountPoint::At("/mnt/efs".into()), Efs::Hung)] {
            let judged = judge(found(&mount_point, &[ROOT, EFS], "").watched, &barred, &mount_point);
            assert_eq!((judged[0].state, judged[0].trouble.as_deref()), (state, Some("no")));
        }
    }

    const STATES: [Efs; 4] = [Efs::Mounted, Efs::Unproven, Efs::Missing, Efs::Hung];

    /// Up to seven numbered mounts: whether it is mounted, whether as NFS, its options in fstab, and what a probe
    /// returns.
    type Made = (bool, bool, Option<&'static str>, Option<HelperAnswer>);

    fn made() -> impl Strategy<Value = Vec<Made>> {
        let options =
            prop::option::of(prop::sample::select(vec!["defaults", "nofail", "noauto", "_netdev,x-systemd.automount"]));
        let answers = vec![
            None,
            Some(HelperAnswer::Came),
            Some(HelperAnswer::Failed(String::new())),
            Some(HelperAnswer::Barred(String::new())),
        ];
        prop::collection::vec((any::<bool>(), any::<bool>(), options, prop::sample::select(answers)), 0..8)
    }

    proptest! {
        #[test]
        fn the_worst_of_several_counts_in_any_order(states in prop::collection::vec(prop::sample::select(STATES.to_vec()), 0..6)) {
            let is_any = |wanted| states.contains(&wanted);
            let expected = [Efs::Hung, Efs::Missing, Efs::Unproven, Efs::Mounted].into_iter().find(|state| is_any(*state));
            prop_assert_eq!(worst(states.clone()), expected.unwrap_or(Efs::Off));
            prop_assert_eq!(worst(states.iter().rev().copied()), worst(states.clone()));
            // A due stop goes ahead only if every one of them is ready.
            prop_assert_eq!(worst(states.clone()).ready(), states.iter().all(|state| state.ready()));
        }

        #[test]
        fn auto_counts_each_mount_by_itself(made in made()) {
            let (mut table, mut fstab, mut probe_results, mut expected) = (ROOT.to_owned(), String::new(), ProbeResults::new(), Vec::new());
            for (number, (is_mounted, is_nfs, options, answer)) in (100..).zip(made) {
                let at = format!("/m/{number}");
                if is_mounted {
                    let fs_type = if is_nfs { "nfs4" } else { "tmpfs" };
                    writeln!(table, "{number} 29 0:{number} / {at} rw - {fs_type} 127.0.0.1:/ rw").unwrap();
                }
                if let Some(options) = options {
                    writeln!(fstab, "fs-{number}:/ {at} efs {options} 0 0").unwrap();
                }
                if let Some(answer) = &answer {
                    probe_results.insert(NfsMount { id: number, at: at.clone().into() }, answer.clone());
                }
                // What is mounted counts, whoever has mounted it; what is not counts only if it should have been at
                // boot.
                if is_mounted && is_nfs {
                    expected.push(match answer {
                        Some(HelperAnswer::Came | HelperAnswer::Barred(_)) => Efs::Mounted,
                        Some(HelperAnswer::Failed(_)) => Efs::Hung,
                        None => Efs::Unproven,
                    });
                } else if options.is_some_and(|options| !options.contains("auto")) {
                    expected.push(Efs::Missing);
                }
            }
            let judged = judge(found(&AUTO, &[&table], &fstab).watched, &probe_results, &AUTO);
            let mut states: Vec<Efs> = judged.iter().map(|mount| mount.state).collect();
            prop_assert_eq!(worst(states.clone()), worst(expected.clone()));
            states.sort_by_key(|state| badness(*state));
            expected.sort_by_key(|state| badness(*state));
            prop_assert_eq!(states, expected);
        }
    }
}
