//! The tasks of a run and their names.

/// A part of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Deletes expired archives.
    Expire,
    /// Marks requests `failed` that are stuck in `processing`.
    Rescue,
    /// Publishes requests again that have been `pending` for long.
    Republish,
    /// Deletes the ZIPs of failed and expired requests.
    Orphans,
    /// Deletes rows that were closed long ago.
    Purge,
}

impl Task {
    /// All tasks, in the order of a run.
    pub const ALL: [Self; 5] =
        [Self::Expire, Self::Rescue, Self::Republish, Self::Orphans, Self::Purge];

    /// Returns the task's name as the event spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expire => "expire",
            Self::Rescue => "rescue",
            Self::Republish => "republish",
            Self::Orphans => "orphans",
            Self::Purge => "purge",
        }
    }

    /// Parses a task's name as the event spells it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|task| task.as_str() == name)
    }
}
