//! How a stack is asked for, and what it tells while it starts.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;

/// How the stack is to be: by default as `template.yaml` says.
#[derive(Clone, Default)]
pub struct Options {
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) reporter: Reporter,
}

impl Options {
    /// Sets a parameter of `template.yaml`, as in `.parameter("LeaseSeconds", 3)`.
    #[must_use]
    pub fn parameter(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.parameters.insert(name.to_owned(), value.to_string());
        self
    }

    /// Has `listener` told of every step that begins, goes on, or has ended. Steps overlap.
    #[must_use]
    pub fn on_progress(mut self, listener: impl Fn(&Progress<'_>) + Send + Sync + 'static) -> Self {
        self.reporter = Reporter(Some(Arc::new(listener)));
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("parameters", &self.parameters).finish_non_exhaustive()
    }
}

/// One of the things to be done before the stack is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Installing MiniStack, PostgreSQL and the AWS command line.
    PythonTools,
    /// Building the functions as they are deployed.
    Functions,
    /// Starting PostgreSQL and creating the tables.
    Database,
    /// Starting MiniStack.
    Aws,
    /// Deploying `template.yaml`.
    Deployment,
}

impl Step {
    /// What is going on while it lasts.
    #[must_use]
    pub fn present(self) -> &'static str {
        match self {
            Step::PythonTools => "preparing the Python tools (first time: about a minute)",
            Step::Functions => "building the functions (first time: 5 to 10 minutes)",
            Step::Database => "starting PostgreSQL",
            Step::Aws => "starting the AWS stand-in",
            Step::Deployment => "deploying template.yaml",
        }
    }

    /// What is true once it is over.
    #[must_use]
    pub fn past(self) -> &'static str {
        match self {
            Step::PythonTools => "Python tools ready",
            Step::Functions => "functions built",
            Step::Database => "PostgreSQL up, tables created",
            Step::Aws => "AWS stand-in up",
            Step::Deployment => "template.yaml deployed",
        }
    }
}

/// News of a [`Step`].
#[derive(Debug, Clone, Copy)]
pub enum Progress<'a> {
    /// It has begun.
    Started(Step),
    /// It goes on; a line of what it is at.
    Note(Step, &'a str),
    /// It was completed, and took so long.
    Finished(Step, Duration),
    /// It failed; the error comes out of [`crate::LocalStack::start`].
    Failed(Step),
}

type Listener = dyn Fn(&Progress<'_>) + Send + Sync;

/// Tells the listener, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Reporter(Option<Arc<Listener>>);

impl Reporter {
    /// Does the work of `step` between a word that it begins and a word that it has ended.
    pub(crate) async fn step<T>(
        &self,
        step: Step,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let begun = Instant::now();
        self.tell(&Progress::Started(step));
        let result = work.await;
        self.tell(&match result {
            Ok(_) => Progress::Finished(step, begun.elapsed()),
            Err(_) => Progress::Failed(step),
        });
        result
    }

    pub(crate) fn note(&self, step: Step, line: &str) {
        self.tell(&Progress::Note(step, line));
    }

    fn tell(&self, progress: &Progress<'_>) {
        if let Some(listener) = &self.0 {
            listener(progress);
        }
    }
}
