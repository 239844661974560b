//! What the cloud is asked for when nobody plays.

/// What to ask EC2 for when nobody plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopAction {
    /// `StopInstances`.
    Stop,
    /// `StopInstances` with `Hibernate`.
    Hibernate,
    /// `TerminateInstances`.
    Terminate,
}

impl StopAction {
    /// The IAM action that allows it.
    #[must_use]
    pub fn permission(self) -> &'static str {
        match self {
            StopAction::Stop | StopAction::Hibernate => "ec2:StopInstances",
            StopAction::Terminate => "ec2:TerminateInstances",
        }
    }

    /// The verb in a sentence: "EC2 refuses to ... this instance".
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            StopAction::Stop => "stop",
            StopAction::Hibernate => "hibernate",
            StopAction::Terminate => "terminate",
        }
    }
}
