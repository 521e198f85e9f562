//! The e-mails to the artist: rendered here, sent by [`Notifier`] at most once.
//!
//! The texts stand in `templates/`: `layout.html` is the look that they share, and each e-mail has an
//! `.html` that fills it and a `.txt`. Counts, sizes, dates and the cleaned handle are rendered once, in
//! `words`, so that both bodies agree.

mod failed;
mod mailer;
mod notifier;
mod ready;
mod recipient;
mod words;

#[cfg(test)]
mod tests;

pub use failed::FailedEmail;
pub use mailer::{EmailOutcome, Mailer};
pub(crate) use notifier::Notice;
pub use notifier::Notifier;
pub use ready::ReadyEmail;

/// An e-mail to an artist.
pub trait Email {
    /// Returns the subject line. It contains no text of users, so it cannot break out of its header.
    fn subject(&self) -> String;

    /// Returns the HTML body: a whole document with every value escaped.
    ///
    /// # Errors
    /// When the template engine fails to write into the string.
    fn html(&self) -> Result<String, askama::Error>;

    /// Returns the plain-text body: lines of at most 76 characters, except the one with the link,
    /// and a newline at the end.
    ///
    /// # Errors
    /// When the template engine fails to write into the string.
    fn text(&self) -> Result<String, askama::Error>;
}
