//! The e-mail about a request that failed.

use askama::Template;

use super::Email;
use super::words::{clean_handle, clean_link, wrapped};
use crate::wording::Wording;

/// The e-mail about a request that failed.
#[derive(Clone, Copy)]
pub struct FailedEmail<'a> {
    /// The names and words of the site.
    pub wording: &'a Wording,
    /// The artist's handle from the database. Untrusted: artists choose it.
    pub handle: &'a str,
    /// Number of requested artworks; 0 if the row is unreadable.
    pub requested: usize,
    /// The row's `error_message`, written for the artist.
    pub message: &'a str,
    /// Absolute URL of the page on which artists request downloads.
    pub link: &'a str,
}

impl Email for FailedEmail<'_> {
    fn subject(&self) -> String {
        format!("Your {} download could not be prepared", self.wording.brand)
    }

    fn html(&self) -> Result<String, askama::Error> {
        FailedHtml { mail: self.words() }.render()
    }

    fn text(&self) -> Result<String, askama::Error> {
        FailedText { mail: self.words() }.render()
    }
}

impl<'a> FailedEmail<'a> {
    fn words(&self) -> Words<'a> {
        Words {
            site: self.wording,
            subject: self.subject(),
            handle: clean_handle(self.handle),
            requested: (self.requested > 0).then(|| self.wording.count(self.requested)),
            message: wrapped(self.message),
            link: clean_link(self.link),
        }
    }
}

/// The values of a [`FailedEmail`] as both bodies show them. The HTML template escapes them.
struct Words<'a> {
    site: &'a Wording,
    subject: String,
    handle: String,
    requested: Option<String>,
    message: String,
    link: String,
}

#[derive(Template)]
#[template(path = "failed.html")]
struct FailedHtml<'a> {
    mail: Words<'a>,
}

#[derive(Template)]
#[template(path = "failed.txt")]
struct FailedText<'a> {
    mail: Words<'a>,
}

#[cfg(test)]
mod tests {
    use shared::failure::OUR_FAULT;

    use super::super::Email;
    use super::super::tests::{LINK, WORDING, check_text, words_of};
    use super::FailedEmail;

    fn mail() -> FailedEmail<'static> {
        FailedEmail {
            wording: &WORDING,
            handle: "pixelcat",
            requested: 24,
            message: OUR_FAULT,
            link: LINK,
        }
    }

    #[test]
    fn both_bodies_state_the_failure_and_the_remedy() -> Result<(), askama::Error> {
        assert_eq!(mail().subject(), "Your Makapix download could not be prepared");
        for body in [mail().html()?, mail().text()?] {
            let body = words_of(&body);
            for text in [
                "Hi pixelcat,",
                "we could not prepare your ZIP of 24 artworks.",
                OUR_FAULT,
                "ask for a new download",
                LINK,
                "because you asked for e-mail about this download",
            ] {
                assert!(body.contains(text), "{text:?} is not in:\n{body}");
            }
        }
        Ok(())
    }

    #[test]
    fn the_number_is_singular_or_left_out() -> Result<(), askama::Error> {
        let mail = |requested| FailedEmail { requested, ..mail() };
        for body in [mail(1).html()?, mail(1).text()?] {
            assert!(words_of(&body).contains("your ZIP of 1 artwork."), "{body}");
        }
        for body in [mail(0).html()?, mail(0).text()?] {
            assert!(words_of(&body).contains("your ZIP."), "{body}");
        }
        Ok(())
    }

    #[test]
    fn long_messages_and_numbers_keep_their_lines() -> Result<(), askama::Error> {
        let message = "a word and another one ".repeat(22);
        let mail = FailedEmail { message: &message, requested: usize::MAX, ..mail() };
        let text = mail.text()?;
        check_text(&text, LINK);
        assert!(words_of(&text).contains(message.trim()));
        Ok(())
    }

    #[test]
    fn a_message_is_escaped() -> Result<(), askama::Error> {
        let html = FailedEmail { message: "<b>&", ..mail() }.html()?;
        assert!(html.contains("&#60;b&#62;&#38;"), "{html}");
        Ok(())
    }
}
