//! The e-mail the artist gets.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use local_stack::{EMAIL_FROM, LocalStack, SentEmail, wait_until};

use super::{Checks, Scene};

/// Checks the one e-mail there has to be, and leaves it in `results`.
pub(crate) async fn check(
    stack: &LocalStack,
    scene: &Scene,
    checks: &mut Checks,
    results: &Path,
) -> Result<()> {
    // It is sent just after the row has become ready.
    let sent = wait_until("the sending of an e-mail", Duration::from_secs(10), async || {
        Ok((!stack.sent_emails().await?.is_empty()).then_some(()))
    });
    let _ = sent.await; // if not, the next check says so
    let emails = stack.sent_emails().await?;
    checks.equal("e-mails sent", &1, &emails.len());
    let Some(email) = emails.first() else { return Ok(()) };
    let html = email.html.as_deref().unwrap_or_default();
    for (name, content) in [("email.html", html), ("email.txt", &email.text)] {
        let path = results.join(name);
        fs::write(&path, content)
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }

    checks.group("one e-mail, with the subject, the handle and the link", |checks| {
        check_content(email, html, scene, checks);
    });
    Ok(())
}

fn check_content(email: &SentEmail, html: &str, scene: &Scene, checks: &mut Checks) {
    checks.equal("the e-mail's recipients", &vec![scene.artist.email.clone()], &email.to);
    checks.equal("the e-mail's sender", &EMAIL_FROM, &email.source.as_str());
    let subject =
        format!("Your Makapix download is ready ({} artworks)", scene.available().count());
    checks.equal("the e-mail's subject", &subject, &email.subject);

    let link =
        format!("https://makapix.club/u/{}/posts?bdr={}", scene.artist_sqid, scene.request_id);
    for (part, content) in [("text", email.text.as_str()), ("HTML", html)] {
        for needed in [&link, &scene.artist.handle] {
            checks.holds(
                &format!("the e-mail's {part} part"),
                content.contains(needed.as_str()),
                format!("something with {needed}"),
                content,
            );
        }
    }
}
