//! What no log line may hold, at whatever level: e-mail addresses, the queries of URLs, and what
//! gives access to something. Every scenario is searched for it when it has ended.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use local_stack::{LocalStack, wait_until};
use uuid::Uuid;

/// Longest wait for the logs of deployed functions. It only ends a scenario that has failed.
const PATIENCE: Duration = Duration::from_secs(90);

/// Parts of the headers and queries that authorize requests, in lower case.
const CREDENTIALS: [&str; 4] = ["x-amz-", "authorization", "aws4-hmac", "bearer "];

/// What a scenario has let out of its hands, and must not find in a log.
#[derive(Clone, Default)]
pub struct Secrets(Arc<Mutex<Vec<String>>>);

impl Secrets {
    /// Adds text that no log line may hold.
    pub fn add(&self, secret: impl Into<String>) {
        self.0.lock().unwrap().push(secret.into());
    }

    /// Adds the password of a PostgreSQL URL.
    pub fn add_password(&self, url: &str) {
        let config: tokio_postgres::Config = url.parse().unwrap();
        self.add(std::str::from_utf8(config.get_password().unwrap()).unwrap());
    }

    /// Fails when one of these lines holds what it may not.
    pub fn look_for_leaks<'a>(&self, lines: impl IntoIterator<Item = &'a str>) {
        let secrets = self.0.lock().unwrap();
        for line in lines {
            if let Some(leak) = leak(line, &secrets) {
                panic!("a log line holds {leak}:\n{line}");
            }
        }
    }

    /// Fails when the logs of the deployed functions hold what they may not. The lines of an
    /// invocation come when it is over, so those of `published` requests are waited for.
    pub async fn look_for_leaks_of_functions(&self, stack: &LocalStack, published: &[Uuid]) {
        let logs = wait_until("the last line on each published request", PATIENCE, async || {
            let logs = stack.function_logs().await?;
            let is_last = |line: &String, bdr_id: &Uuid| {
                line.contains(&bdr_id.to_string()) && line.contains(r#""result":"#)
            };
            let all_told = published.iter().all(|id| logs.iter().any(|line| is_last(line, id)));
            Ok(all_told.then_some(logs))
        });
        self.look_for_leaks(logs.await.unwrap().iter().map(String::as_str));
    }
}

/// What a line holds that it may not.
fn leak(line: &str, secrets: &[String]) -> Option<&'static str> {
    let lower = line.to_lowercase();
    if secrets.iter().any(|secret| line.contains(secret)) {
        Some("a secret of the scenario")
    } else if holds_address(&lower) {
        Some("an e-mail address")
    } else if CREDENTIALS.iter().any(|part| lower.contains(part)) {
        Some("what authorizes a request")
    } else if holds_query(&lower) {
        Some("the query of a URL")
    } else {
        None
    }
}

/// Whether there is an `@` with a name on its left and a domain on its right, as it is or as forms
/// encode it.
fn holds_address(lower: &str) -> bool {
    let text = lower.replace("%40", "@");
    let mut parts = text.split('@');
    let Some(mut left) = parts.next() else { return false };
    parts.any(|right| {
        let named = left.ends_with(|c: char| c.is_alphanumeric() || "._%+-\"".contains(c));
        left = right;
        named && right.starts_with(|c: char| c.is_alphanumeric() || c == '[')
    })
}

/// Whether there is a URL that goes on after its path.
fn holds_query(lower: &str) -> bool {
    lower.split("://").skip(1).any(|rest| {
        let end = rest.find(|c: char| c.is_whitespace() || "\"'\\<>".contains(c));
        rest[..end.unwrap_or(rest.len())].contains('?')
    })
}

#[cfg(test)]
mod tests {
    use super::leak;

    #[test]
    fn what_may_not_be_logged_is_recognized() {
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
