//! Somebody who logs in to the container by SSH: a real sshd with the PAM of the distribution, and a real ssh.

use super::container::Machine;
use super::peers::OPERATOR;

/// A shell line that makes the account, once.
pub(crate) const ACCOUNT: &str = "
    useradd --create-home --shell /bin/sh alice
    mkdir -p /run/keys
    ssh-keygen -q -t ed25519 -N '' -f /run/keys/alice
    install -d -m 700 -o alice /home/alice/.ssh
    install -m 600 -o alice /run/keys/alice.pub /home/alice/.ssh/authorized_keys";

impl Machine {
    /// Logs in, from the address of the operator. The session is there when this returns.
    pub(crate) fn log_in(&self) {
        self.addresses();
        self.ok("rm -f /run/keys/typed; mkfifo /run/keys/typed; systemctl start ssh");
        self.background(
            "beside-ssh",
            &format!(
                "exec 3<>/run/keys/typed; exec ssh -tt -i /run/keys/alice -o StrictHostKeyChecking=no \
                 -o UserKnownHostsFile=/dev/null alice@{} <&3",
                OPERATOR.to
            ),
        );
        self.until("alice is logged in", || self.sessions().contains("alice"));
    }

    /// Types `exit`.
    pub(crate) fn log_out(&self) {
        self.ok("echo exit >/run/keys/typed");
    }

    /// Who is logged in.
    pub(crate) fn sessions(&self) -> String {
        self.ok("loginctl list-sessions --no-legend")
    }
}
