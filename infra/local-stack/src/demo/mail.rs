//! The e-mail to the artist.

use std::time::Duration;

use anyhow::Result;
use local_stack::{EMAIL_FROM, wait_until};

use super::{Checks, Demo, scene::ARTIST_SQID};

/// Checks that one e-mail was sent and what it says, and writes it to the results.
pub(crate) async fn check(demo: &Demo<'_>, checks: &mut Checks) -> Result<()> {
    let Demo { stack, scene, .. } = demo;
    // It is sent after the row has become ready.
    let sent = wait_until("an e-mail being sent", Duration::from_secs(10), async || {
        Ok((!stack.sent_emails().await?.is_empty()).then_some(()))
    });
    let _ = sent.await; // the next check reports a failure
    let emails = stack.sent_emails().await?;
    checks.equal("e-mails sent", 1, emails.len());
    let Some(email) = emails.first() else { return Ok(()) };
    let html = email.html.as_deref().unwrap_or_default();
    demo.write_result("email.html", html)?;
    demo.write_result("email.txt", &email.text)?;

    checks.group("one e-mail, with the subject, the handle and the link", |checks| {
        let recipients = vec![scene.artist.email.clone()];
        checks.equal("the e-mail's recipients", &recipients, &email.to);
        checks.equal("the e-mail's sender", EMAIL_FROM, &email.source);
        let count = scene.available().count();
        let subject = format!("Your Makapix download is ready ({count} artworks)");
        checks.equal("the e-mail's subject", &subject, &email.subject);
        let link = format!("https://makapix.club/u/{ARTIST_SQID}/posts?bdr={}", scene.request_id);
        for (part, content) in [("text", email.text.as_str()), ("HTML", html)] {
            for needed in [&link, &scene.artist.handle] {
                checks.holds(
                    &format!("the e-mail's {part} part"),
                    content.contains(needed.as_str()),
                    format!("a text with {needed}"),
                    content,
                );
            }
        }
    });
    Ok(())
}
