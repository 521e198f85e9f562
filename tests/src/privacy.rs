//! What no log line may contain, at any level: e-mail addresses, queries of URLs, and credentials. Every
//! scenario's logs are searched when it has ended.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use local_stack::{LocalStack, wait_until};
use uuid::Uuid;

/// Longest wait for the logs of deployed functions. It only ends a scenario that has failed.
const PATIENCE: Duration = Duration::from_secs(90);

/// Parts of the headers and queries that authorize requests, in lower case.
const CREDENTIALS: [&str; 4] = ["x-amz-", "authorization", "aws4-hmac", "bearer "];

/// The secrets of a scenario.
#[derive(Clone, Default)]
pub struct Secrets {
    texts: Arc<Mutex<Vec<String>>>,
    /// The requests that deployed functions log.
    published: Arc<Mutex<Vec<Uuid>>>,
}

impl Secrets {
    /// Adds text that no log line may contain.
    pub fn add(&self, secret: impl Into<String>) {
        self.texts.lock().unwrap().push(secret.into());
    }

    /// Adds the password of a PostgreSQL URL.
    pub fn add_password(&self, url: &str) {
        let config: tokio_postgres::Config = url.parse().unwrap();
        self.add(std::str::from_utf8(config.get_password().unwrap()).unwrap());
    }

    /// Has [`Secrets::look_for_leaks_of_functions`] wait for the log of this request.
    pub fn look_at_log_of(&self, bdr_id: Uuid) {
        self.published.lock().unwrap().push(bdr_id);
    }

    /// Searches these lines.
    ///
    /// # Panics
    /// When a line contains a secret.
    pub fn look_for_leaks<'a>(&self, lines: impl IntoIterator<Item = &'a str>) {
        let secrets = self.texts.lock().unwrap();
        for line in lines {
            if let Some(leak) = leak(line, &secrets) {
                panic!("a log line contains {leak}:\n{line}");
            }
        }
    }

    /// Searches the logs of the deployed functions, if a request was published to them. It waits for the
    /// outcome line of each request, because the lines of an invocation appear after its end.
    pub(crate) async fn look_for_leaks_of_functions(&self, stack: &LocalStack) {
        let published = std::mem::take(&mut *self.published.lock().unwrap());
        if published.is_empty() {
            return;
        }
        let logs = wait_until("the last line of each published request", PATIENCE, async || {
            let logs = stack.function_logs().await?;
            let is_logged = |bdr_id: &Uuid| {
                let bdr_id = bdr_id.to_string();
                logs.iter().any(|line| line.contains(&bdr_id) && line.contains(r#""result":"#))
            };
            Ok(published.iter().all(is_logged).then_some(logs))
        });
        self.look_for_leaks(logs.await.unwrap().iter().map(String::as_str));
    }
}

/// Returns the kind of secret that a line contains.
fn leak(line: &str, secrets: &[String]) -> Option<&'static str> {
    let lower = line.to_lowercase();
    let kinds = [
        (secrets.iter().any(|secret| line.contains(secret)), "a secret of the scenario"),
        (has_address(&lower), "an e-mail address"),
        (CREDENTIALS.iter().any(|part| lower.contains(part)), "a credential"),
        (has_query(&lower), "the query of a URL"),
    ];
    kinds.into_iter().find_map(|(is_found, kind)| is_found.then_some(kind))
}

/// Returns whether there is an `@`, plain or URL-encoded, between a name and a domain.
fn has_address(lower: &str) -> bool {
    let text = lower.replace("%40", "@");
    let parts: Vec<&str> = text.split('@').collect();
    parts.windows(2).any(|pair| {
        pair[0].ends_with(|c: char| c.is_alphanumeric() || "._%+-\"".contains(c))
            && pair[1].starts_with(|c: char| c.is_alphanumeric() || c == '[')
    })
}

/// Returns whether there is a URL with a query.
fn has_query(lower: &str) -> bool {
    lower.split("://").skip(1).any(|rest| {
        let url = rest.split(|c: char| c.is_whitespace() || "\"'\\<>".contains(c)).next();
        url.is_some_and(|url| url.contains('?'))
    })
}

#[cfg(test)]
mod tests {
    use super::leak;

    #[test]
    fn secrets_in_log_lines_are_recognized() {
        let secrets = ["hunter2".to_owned()];
        for line in [
            r#"{"message":"password hunter2"}"#,
            r#"{"error":"no such user: Artist.Name+tag@example.org"}"#,
            "Destination.ToAddresses.member.1=artist%40example.org",
            r#"Artist <"odd name"@[10.0.0.1]>"#,
            "GET http://127.0.0.1:4566/vault/x?versionId=1 failed",
            r#"{"url":"https://example.org/a.png?token=1"}"#,
            "x-id=GetObject&X-Amz-Signature=00",
            r#"{"headers":{"Authorization":"..."}}"#,
        ] {
            assert!(leak(line, &secrets).is_some(), "{line}");
        }
        for line in [
            r#"{"message":"BDR 7: why?","key":"bdr/u/7.zip","url":"https://example.org/a.png"}"#,
            "did http://example.org/ fail? yes",
            "a @ b, c@ d, @e",
        ] {
            assert_eq!(leak(line, &secrets), None, "{line}");
        }
    }
}
