//! Options for starting a stack, and reports on its start.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;

/// Options for a stack; by default it is as `template.yaml` describes it.
#[derive(Clone, Default)]
pub struct Options {
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) ports: Ports,
    pub(crate) profile: Profile,
    pub(crate) reporter: Reporter,
}

/// The cargo profile of the functions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// That of the deployed functions.
    #[default]
    Release,
    /// That of development. `cargo demo` itself is built in it, so the AWS SDK is built once.
    Dev,
}

impl Profile {
    /// Returns its name for `cargo build --profile`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dev => "dev",
        }
    }

    /// Returns the option of `cargo build` that selects a function.
    ///
    /// Cargo enables the features of a crate that the selected packages need together, and builds it
    /// again for another set. `cargo demo` selects all default members, and so does `--bin`.
    pub(crate) fn selector(self) -> &'static str {
        match self {
            Self::Release => "--package",
            Self::Dev => "--bin",
        }
    }
}

/// The ports of the servers; 0 is a free one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ports {
    pub(crate) aws: u16,
    pub(crate) database: u16,
}

impl Options {
    /// Sets a parameter of `template.yaml`, as in `.parameter("LeaseSeconds", 3)`.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: impl Display) -> Self {
        self.parameters.insert(name.to_owned(), value.to_string());
        self
    }

    /// Sets the ports of the AWS stand-in and of PostgreSQL; 0 is a free one.
    #[must_use]
    pub fn ports(mut self, aws: u16, database: u16) -> Self {
        self.ports = Ports { aws, database };
        self
    }

    /// Sets the cargo profile of the functions (default: that of the deployed ones).
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Calls `listener` whenever a step begins, continues or ends. Steps overlap.
    #[must_use]
    pub fn on_progress(mut self, listener: impl Fn(&Progress<'_>) + Send + Sync + 'static) -> Self {
        self.reporter = Reporter(Some(Arc::new(listener)));
        self
    }
}

/// A step of the stack's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Installing MiniStack, PostgreSQL and the AWS command line.
    PythonTools,
    /// Building the functions.
    Functions,
    /// Starting PostgreSQL and creating the tables.
    Database,
    /// Starting MiniStack.
    Aws,
    /// Deploying `template.yaml`.
    Deployment,
}

impl Step {
    /// Describes the step while it lasts.
    #[must_use]
    pub fn present(self) -> &'static str {
        self.words().0
    }

    /// Describes the result of the step.
    #[must_use]
    pub fn past(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Step::PythonTools => {
                ("preparing the Python tools (first time: about a minute)", "Python tools ready")
            }
            Step::Functions => ("building the functions (first time: minutes)", "functions built"),
            Step::Database => ("starting PostgreSQL", "PostgreSQL up, tables created"),
            Step::Aws => ("starting the AWS stand-in", "AWS stand-in up"),
            Step::Deployment => ("deploying template.yaml", "template.yaml deployed"),
        }
    }
}

/// A report on a [`Step`].
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// The step has begun.
    Started(Step),
    /// The step continues; a line on its present work.
    Note(Step, &'a str),
    /// The step has succeeded after this time.
    Finished(Step, Duration),
    /// The step has failed; [`crate::LocalStack::start`] returns the error.
    Failed(Step),
}

type Listener = dyn Fn(&Progress<'_>) + Send + Sync;

/// The listener, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Reporter(Option<Arc<Listener>>);

impl Reporter {
    /// Runs `work`, and reports its begin and its end as those of `step`.
    pub(crate) async fn step<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let begun = Instant::now();
        self.report(&Progress::Started(step));
        let result = work.await;
        self.report(&match result {
            Ok(_) => Progress::Finished(step, begun.elapsed()),
            Err(_) => Progress::Failed(step),
        });
        result
    }

    pub(crate) fn note(&self, step: Step, line: &str) {
        self.report(&Progress::Note(step, line));
    }

    fn report(&self, progress: &Progress<'_>) {
        if let Some(listener) = &self.0 {
            listener(progress);
        }
    }
}
