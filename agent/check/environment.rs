//! The settings for AWS in the environment. `mc-idle check` takes those of the running service, since `sudo` and
//! `/etc/default/mc-idle` give the two different ones.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::{fs, io};

/// Those that matter for a call to AWS and are not empty, which counts as not set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AwsVariables(BTreeMap<OsString, OsString>);

impl AwsVariables {
    /// From all `variables`.
    pub fn among(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        AwsVariables(variables.into_iter().filter(|(name, value)| matters(name) && !value.is_empty()).collect())
    }

    /// Those of the agent's process `pid`, as it was started (proc_pid_environ(5)).
    ///
    /// # Errors
    /// The process is gone, or another user's, or is no agent: its number may have been given to another one.
    pub fn of_agent(proc: &Path, pid: u32) -> io::Result<Self> {
        let process = proc.join(pid.to_string());
        if fs::read(process.join("comm"))?.trim_ascii() != b"mc-idle" {
            return Err(io::Error::other(format!("process {pid} is another program")));
        }
        let text = fs::read(process.join("environ"))?;
        if text.is_empty() {
            return Err(io::Error::other(format!("process {pid} has exited")));
        }
        let assigned = text.split(|byte| *byte == 0).filter_map(|assignment| {
            let equals = assignment.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (&assignment[..equals], &assignment[equals + 1..]);
            Some((OsString::from_vec(name.to_vec()), OsString::from_vec(value.to_vec())))
        });
        Ok(Self::among(assigned))
    }

    /// What has to change for these to become `wanted`: each name with its value, or `None` if it must not be set.
    #[must_use]
    pub fn changes_to(&self, wanted: &Self) -> BTreeMap<OsString, Option<OsString>> {
        let surplus = self.0.keys().filter(|name| !wanted.0.contains_key(*name)).map(|name| (name.clone(), None));
        let missing = wanted.0.iter().filter(|(name, value)| self.0.get(*name) != Some(value));
        surplus.chain(missing.map(|(name, value)| (name.clone(), Some(value.clone())))).collect()
    }
}

/// The SDK's variables, and those of what carries its calls.
fn matters(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b"AWS_") || name.to_ascii_lowercase().ends_with(b"_proxy") || name.starts_with(b"SSL_CERT_")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(variables: &BTreeMap<String, String>) -> AwsVariables {
        AwsVariables::among(variables.iter().map(|(name, value)| (name.into(), value.into())))
    }

    fn variables() -> impl Strategy<Value = BTreeMap<String, String>> {
        prop::collection::btree_map("AWS_[AB]|HTTPS_PROXY|no_proxy|SSL_CERT_FILE|PATH", "[a-c=]{0,2}", 0..6)
    }

    proptest! {
        #[test]
        fn with_the_changes_one_is_as_the_other(own in variables(), wanted in variables()) {
            let mut changed = own.clone();
            let changes = of(&own).changes_to(&of(&wanted));
            for (name, value) in &changes {
                let name = name.to_str().unwrap().to_owned();
                assert_ne!(name, "PATH");
                match value {
                    Some(value) => changed.insert(name, value.to_str().unwrap().to_owned()),
                    None => changed.remove(&name),
                };
            }
            prop_assert_eq!(of(&changed), of(&wanted));
            prop_assert_eq!(changes.is_empty(), of(&own) == of(&wanted));
        }

        #[test]
        fn a_process_has_what_it_was_started_with(variables in variables()) {
            let proc = tempfile::tempdir().unwrap();
            fs::create_dir(proc.path().join("7")).unwrap();
            let environ: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={value}\0")).collect();
            fs::write(proc.path().join("7/environ"), format!("A=a\0{}", environ.concat())).unwrap();
            fs::write(proc.path().join("7/comm"), "mc-idle\n").unwrap();
            prop_assert_eq!(AwsVariables::of_agent(proc.path(), 7).unwrap(), of(&variables));
            fs::write(proc.path().join("7/comm"), "sleep\n").unwrap();
            prop_assert!(AwsVariables::of_agent(proc.path(), 7).is_err());
        }
    }
}
