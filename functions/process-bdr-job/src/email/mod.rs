//! The e-mails to the artist: subject, HTML and plain text. They are only rendered here;
//! [`crate::notify`] sends them.
//!
//! What they say stands in `templates/`: `layout.html` is the look they share, and each e-mail has
//! an `.html` that fills it and a `.txt`. What both bodies say in the same way (counts, sizes,
//! dates, the cleaned handle) is put into words in `words`, so that they cannot disagree.

mod failed;
mod ready;
mod words;

#[cfg(test)]
mod tests;

pub use failed::FailedEmail;
pub use ready::ReadyEmail;

/// An e-mail to an artist.
pub trait Email {
    /// The subject line. It holds nothing that anybody else wrote, so it cannot break out of its
    /// header.
    fn subject(&self) -> String;

    /// The HTML body: a whole document, every value escaped.
    ///
    /// # Errors
    /// Only when the template engine cannot write into the string.
    fn html(&self) -> Result<String, askama::Error>;

    /// The plain-text body: lines of at most 76 characters except the one with the link, ending in
    /// a newline.
    ///
    /// # Errors
    /// Only when the template engine cannot write into the string.
    fn text(&self) -> Result<String, askama::Error>;
}
