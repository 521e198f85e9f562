//! A real browser: Chromium without a window, driven through the
//! [WebDriver protocol](https://www.w3.org/TR/webdriver2/). It reaches the vault through [`cors`], because the
//! AWS stand-in permits every origin.

mod cors;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use local_stack::remote::RemoteHost;
use local_stack::{Workspace, wait_until};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{Mutex, MutexGuard};

use crate::scenario::{PATIENCE, Scenario};

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

/// Held by the one browser that runs. Each takes several processes, beside seven other scenarios on two cores.
static TURN: Mutex<()> = Mutex::const_new(());

/// A browser with one tab, which ends when it is dropped.
pub struct Browser {
    session: String,
    folder: TempDir,
    _vault: RemoteHost,
    // Open as long as the driver may use them: the supervisor ends the driver at the end of its input.
    _driver: (Child, Lines<BufReader<ChildStdout>>),
    _turn: MutexGuard<'static, ()>,
}

impl Browser {
    /// Returns the program that drives Chromium, if it is installed.
    #[must_use]
    pub fn driver() -> Option<PathBuf> {
        let folders = std::env::var_os("PATH")?;
        let places = std::env::split_paths(&folders).map(|folder| folder.join("chromedriver"));
        places.into_iter().find(|place| place.exists())
    }

    /// Starts the browser with this driver, once no other runs.
    pub async fn start(s: &Scenario, driver: &Path) -> Self {
        let turn = TURN.lock().await;
        let vault = cors::vault(s).await;
        let folder = tempfile::tempdir_in(s.stack.scratch_directory()).unwrap();
        let supervisor = Workspace::find().unwrap().root().join("infra/local-stack/supervisor.py");
        let start = async || {
            let mut command = Command::new(s.stack.python());
            command.arg("-I").arg(&supervisor).arg("--").arg(driver).arg("--port=0");
            command
                .env("HOME", folder.path())
                .env("TMPDIR", folder.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped());
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
        let (_, aws) = s.stack.endpoint().split_once("://").unwrap();
        // The name is that of another site on this machine.
        flags.push(format!(
            "--host-resolver-rules=MAP {aws} {}, MAP other-site.example 127.0.0.1",
            vault.authority()
        ));
        let preferences = json!({ "download.default_directory": folder.path().join("saved") });
        let capabilities = json!({
            "goog:chromeOptions": { "args": flags, "prefs": preferences },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            // In ms. 30,000 by default.
            "timeouts": { "script": 300_000 },
        });
        let mut browser = Self {
            session: format!("http://127.0.0.1:{port}/session"),
            folder,
            _vault: vault,
            _driver: driver,
            _turn: turn,
        };
        let asked = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let session = browser.poll("a session of Chromium", "", &asked).await;
        browser.session = format!("{}/{}", browser.session, session["sessionId"].as_str().unwrap());
        browser
    }

    /// Sends a command, and returns its result.
    async fn post(&self, command: &str, body: Value) -> Value {
        self.send(Method::POST, command, Some(&body)).await
    }

    async fn send(&self, method: Method, command: &str, body: Option<&Value>) -> Value {
        let result = self.try_send(method, command, body).await;
        result.unwrap_or_else(|error| panic!("{command} {body:?}: {error}"))
    }

    /// Sends a command. Returns its result, or the error of the driver.
    async fn try_send(
        &self,
        method: Method,
        command: &str,
        body: Option<&Value>,
    ) -> Result<Value, Value> {
        let client = local_stack::http::client().unwrap();
        let mut request = client.request(method, format!("{}{command}", self.session));
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut answer: Value = request.send().await.unwrap().json().await.unwrap();
        let value = answer["value"].take();
        if value.get("error").is_some() { Err(value) } else { Ok(value) }
    }

    /// Sends a command until its result is not null; returns that. An error counts as null.
    async fn poll(&self, what: &str, command: &str, body: &Value) -> Value {
        let mut error = Value::Null;
        let found = wait_until(what, PATIENCE, async || {
            let found = self.try_send(Method::POST, command, Some(body)).await;
            let found = found.inspect_err(|last| error = last.clone()).unwrap_or_default();
            Ok((!found.is_null()).then_some(found))
        });
        let found = found.await;
        found.unwrap_or_else(|late| panic!("{late}; the last error: {error}"))
    }

    /// Opens a page, and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await;
    }

    /// Clicks an element as a person does, once it exists: it must be visible.
    pub async fn click(&self, selector: &str) {
        let element = json!({"using": "css selector", "value": selector});
        let found = self.poll(selector, "/element", &element).await;
        let id = found[ELEMENT].as_str().unwrap();
        self.post(&format!("/element/{id}/click"), json!({})).await;
    }

    /// Runs the body of a function in the page, and returns its result.
    pub async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    /// Runs the body of a function in the page until it returns something but null; returns that. An error
    /// counts as null: while a page or a frame loads, Chromium replaces the document that the script uses.
    pub async fn find(&self, what: &str, script: &str) -> Value {
        self.poll(what, "/execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Returns what the console shows since the last call.
    pub async fn console(&self) -> String {
        self.post("/se/log", json!({ "type": "browser" })).await.to_string()
    }

    /// Presses and releases a key, by its character or its code point in the protocol.
    pub async fn press(&self, key: &str) {
        let keys = ["keyDown", "keyUp"].map(|change| json!({ "type": change, "value": key }));
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": keys });
        self.post("/actions", json!({ "actions": [keyboard] })).await;
    }

    /// Permits or forbids the scripts of the pages that are opened next.
    pub async fn permit_scripts(&self, are_permitted: bool) {
        let parameters = json!({ "value": !are_permitted });
        let command = "Emulation.setScriptExecutionDisabled";
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await;
    }

    /// Returns the texts of the elements at a selector, also in a page without scripts.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let found =
            self.post("/elements", json!({"using": "css selector", "value": selector})).await;
        let mut texts = Vec::new();
        for element in found.as_array().unwrap() {
            let command = format!("/element/{}/text", element[ELEMENT].as_str().unwrap());
            let text = self.send(Method::GET, &command, None).await;
            texts.push(text.as_str().unwrap().to_owned());
        }
        texts
    }

    /// Returns the URLs that were requested since the last call.
    pub async fn requests(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({ "type": "performance" })).await;
        let events = log.as_array().unwrap().iter();
        let events = events.map(|entry| serde_json::from_str(entry["message"].as_str().unwrap()));
        let events = events.map(|event: Result<Value, _>| event.unwrap()["message"].take());
        let sent = events.filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| event["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns a file that the browser has saved, once it is complete.
    #[must_use]
    pub fn saved(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.folder.path().join("saved").join(name)).ok()
    }
}
