//! A real browser: Chromium without a window, driven through the
//! [WebDriver protocol](https://www.w3.org/TR/webdriver2/). It reaches the vault through [`cors`], because the
//! AWS stand-in permits every origin.

mod cors;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use local_stack::Workspace;
use local_stack::remote::RemoteHost;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::scenario::Scenario;

/// Chromium's settings: no window, a fresh profile, and no traffic of its own.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];
/// The member that holds the id of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one tab, which ends when it is dropped.
pub struct Browser {
    session: String,
    folder: TempDir,
    _vault: RemoteHost,
    // Open as long as the driver may use them: the supervisor ends the driver at the end of its input.
    _driver: (Child, Lines<BufReader<ChildStdout>>),
}

impl Browser {
    /// Returns the program that drives Chromium, if it is installed.
    #[must_use]
    pub fn driver() -> Option<PathBuf> {
        let folders = std::env::var_os("PATH")?;
        let places = std::env::split_paths(&folders).map(|folder| folder.join("chromedriver"));
        places.into_iter().find(|place| place.exists())
    }

    /// Starts the browser with this driver.
    pub async fn start(s: &Scenario, driver: &Path) -> Self {
        let vault = cors::vault(s).await;
        let folder = tempfile::tempdir_in(s.stack.scratch_directory()).unwrap();
        let supervisor = Workspace::find().unwrap().root().join("infra/local-stack/supervisor.py");
        let start = async || {
            let mut command = Command::new(s.stack.python());
            command.arg("-I").arg(&supervisor).arg("--").arg(driver).arg("--port=0");
            command.env("HOME", folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, port)) = line.split_once("started successfully on port ") {
                    return Ok(Some((port.trim_end_matches('.').to_owned(), (child, lines))));
                }
            }
            // It ends if another process has the IPv6 port of the IPv4 port that it got.
            Ok(None)
        };
        let (port, driver) = s.wait("chromedriver's port", start).await;
        let mut flags = FLAGS.map(str::to_owned).to_vec();
        flags.push(format!("--user-data-dir={}", folder.path().join("profile").display()));
        let (_, aws) = s.stack.endpoint().split_once("://").unwrap();
        // The name is that of another site on this machine.
        flags.push(format!(
            "--host-resolver-rules=MAP {aws} {}, MAP other-site.example 127.0.0.1",
            vault.authority()
        ));
        let preferences = json!({ "download.default_directory": folder.path().join("saved") });
        let capabilities = json!({
            "goog:chromeOptions": { "args": flags, "prefs": preferences },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let mut browser = Self {
            session: format!("http://127.0.0.1:{port}/session"),
            folder,
            _vault: vault,
            _driver: driver,
        };
        let asked = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let session = browser.post("", asked).await;
        browser.session = format!("{}/{}", browser.session, session["sessionId"].as_str().unwrap());
        browser
    }

    /// Sends a command, and returns its result.
    async fn post(&self, command: &str, body: Value) -> Value {
        let client = local_stack::http::client().unwrap();
        let request = client.post(format!("{}{command}", self.session)).json(&body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        assert!(answer["value"].get("error").is_none(), "{command} {body}: {answer}");
        answer["value"].clone()
    }

    /// Opens a page, and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await;
    }

    /// Clicks an element as a person does: it must be visible.
    pub async fn click(&self, selector: &str) {
        let found =
            self.post("/element", json!({"using": "css selector", "value": selector})).await;
        let id = found[ELEMENT].as_str().unwrap();
        self.post(&format!("/element/{id}/click"), json!({})).await;
    }

    /// Runs the body of a function in the page, and returns its result.
    pub async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Returns what the console shows since the last call.
    pub async fn console(&self) -> String {
        self.post("/se/log", json!({ "type": "browser" })).await.to_string()
    }

    /// Returns a file that the browser has saved, once it is complete.
    #[must_use]
    pub fn saved(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join("saved").join(name)).ok()
    }
}
