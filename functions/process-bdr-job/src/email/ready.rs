//! The e-mail about a ready archive.

use askama::Template;
use time::OffsetDateTime;

use super::Email;
use super::words::{clean_handle, clean_link, human_size, human_time};
use crate::archive::Contents;
use crate::text::one_line;
use crate::wording::Wording;

/// Maximum length of a title, in characters: a line of the text body has 76.
const MAX_TITLE_CHARS: usize = 70;

/// The e-mail about a ready archive.
#[derive(Clone, Copy)]
pub struct ReadyEmail<'a> {
    /// The names and words of the site.
    pub wording: &'a Wording,
    /// The artist's handle from the database. Untrusted: artists choose it.
    pub handle: &'a str,
    /// Number of artworks in the archive.
    pub artworks: usize,
    /// Number of requested artworks that are missing.
    pub missing: usize,
    /// What else is known about the archive's contents.
    pub contents: Option<&'a Contents>,
    /// Size of the archive in bytes.
    pub size_bytes: u64,
    /// Absolute URL of the page with the download. Never a presigned URL, which would expire before
    /// the e-mail is read.
    pub link: &'a str,
    /// The time at which the archive is deleted.
    pub expires_at: OffsetDateTime,
}

impl Email for ReadyEmail<'_> {
    fn subject(&self) -> String {
        let Wording { brand, .. } = self.wording;
        format!("Your {brand} download is ready ({})", self.wording.count(self.artworks))
    }

    fn html(&self) -> Result<String, askama::Error> {
        ReadyHtml { mail: self.words() }.render()
    }

    fn text(&self) -> Result<String, askama::Error> {
        ReadyText { mail: self.words() }.render()
    }
}

impl<'a> ReadyEmail<'a> {
    /// Returns how many artworks are animations, if any is.
    fn animations(&self) -> Option<String> {
        match self.contents?.animations {
            0 => None,
            1 => Some("1 animation among them".to_owned()),
            count => Some(format!("{count} animations among them")),
        }
    }

    /// Returns a line for each missing artwork that is named, and one for the rest. Without titles, there
    /// is no line.
    fn missing_titles(&self) -> Vec<String> {
        let titles = self.contents.map_or(&[][..], |contents| &contents.missing_titles);
        let mut lines: Vec<_> =
            titles.iter().map(|title| one_line(title, MAX_TITLE_CHARS)).collect();
        let rest = self.missing.saturating_sub(titles.len());
        if !lines.is_empty() && rest > 0 {
            lines.push(format!("and {rest} more"));
        }
        lines
    }

    fn words(&self) -> Words<'a> {
        Words {
            site: self.wording,
            subject: self.subject(),
            handle: clean_handle(self.handle),
            artworks: self.wording.count(self.artworks),
            animations: self.animations(),
            missing: self.missing,
            missing_titles: self.missing_titles(),
            missing_artworks: self.wording.count(self.missing),
            size: human_size(self.size_bytes),
            link: clean_link(self.link),
            expires: human_time(self.expires_at),
        }
    }
}

/// The values of a [`ReadyEmail`] as both bodies show them. The HTML template escapes them.
struct Words<'a> {
    site: &'a Wording,
    subject: String,
    handle: String,
    artworks: String,
    animations: Option<String>,
    missing: usize,
    missing_titles: Vec<String>,
    missing_artworks: String,
    size: String,
    link: String,
    expires: String,
}

#[derive(Template)]
#[template(path = "ready.html")]
struct ReadyHtml<'a> {
    mail: Words<'a>,
}

#[derive(Template)]
#[template(path = "ready.txt")]
struct ReadyText<'a> {
    mail: Words<'a>,
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::super::Email;
    use super::super::tests::{LINK, WORDING, check_text, words_of};
    use super::ReadyEmail;
    use crate::archive::Contents;

    fn mail() -> ReadyEmail<'static> {
        ReadyEmail {
            wording: &WORDING,
            handle: "pixelcat",
            artworks: 24,
            missing: 0,
            contents: None,
            size_bytes: 48_213_991,
            link: LINK,
            expires_at: datetime!(2026-11-30 17:45:59 UTC),
        }
    }

    #[test]
    fn subject_counts_artworks() {
        let subject = |artworks| ReadyEmail { artworks, ..mail() }.subject();
        assert_eq!(subject(24), "Your Makapix download is ready (24 artworks)");
        assert_eq!(subject(1), "Your Makapix download is ready (1 artwork)");
        assert_eq!(subject(0), "Your Makapix download is ready (0 artworks)");
    }

    #[test]
    fn both_bodies_contain_every_fact() -> Result<(), askama::Error> {
        for body in [mail().html()?, mail().text()?] {
            let body = words_of(&body);
            for text in [
                "Hi pixelcat,",
                "24 artworks",
                "48.2 MB",
                LINK,
                "until 30 November 2026, 17:45 UTC",
                "because you asked for e-mail when this download was ready",
            ] {
                assert!(body.contains(text), "{text:?} is not in:\n{body}");
            }
        }
        Ok(())
    }

    #[test]
    fn singular_and_plural() -> Result<(), askama::Error> {
        let mail = |artworks, missing| ReadyEmail { artworks, missing, ..mail() };
        for body in [mail(1, 1).html()?, mail(1, 1).text()?] {
            let body = words_of(&body);
            assert!(body.contains("1 artwork into a ZIP"), "{body}");
            assert!(body.contains("1 artwork is missing"), "{body}");
            assert!(body.contains("lists it and says why"), "{body}");
            assert!(!body.contains("1 artworks"), "{body}");
        }
        for body in [mail(21, 3).html()?, mail(21, 3).text()?] {
            let body = words_of(&body);
            assert!(body.contains("21 artworks into a ZIP"), "{body}");
            assert!(body.contains("3 artworks are missing"), "{body}");
            assert!(body.contains("MISSING.txt"), "{body}");
            assert!(body.contains("lists them and says why"), "{body}");
        }
        Ok(())
    }

    #[test]
    fn animations_and_missing_titles_are_named() -> Result<(), askama::Error> {
        let of = |animations, titles: &[&str], missing| {
            let missing_titles = titles.iter().map(|&title| title.to_owned()).collect();
            let contents = Contents { animations, missing_titles };
            let mail = ReadyEmail { missing, contents: Some(&contents), ..mail() };
            check_text(&mail.text()?, LINK);
            Ok::<_, askama::Error>([words_of(&mail.html()?), words_of(&mail.text()?)])
        };
        let titles = ["Größe", "<b>\r\nBcc: x", &"x".repeat(200), "Untitled", "Rain"];
        for body in of(5, &titles, 8)? {
            assert!(body.contains("24 artworks, 5 animations among them, into a ZIP"), "{body}");
            assert!(body.contains("Größe"), "{body}");
            assert!(body.contains("Rain") && body.contains("and 3 more"), "{body}");
            assert!(!body.contains(&"x".repeat(70)), "{body}");
        }
        for body in of(1, &["Rain"], 1)? {
            assert!(body.contains("1 animation among them"), "{body}");
            assert!(body.contains("Rain") && !body.contains("more"), "{body}");
        }
        for body in of(0, &[], 0)? {
            assert!(!body.contains("animation"), "{body}");
        }
        Ok(())
    }

    #[test]
    fn nothing_missing_is_not_mentioned() -> Result<(), askama::Error> {
        for body in [mail().html()?, mail().text()?] {
            let body = body.to_lowercase();
            assert!(!body.contains("missing"), "{body}");
            assert!(!body.contains("MISSING.txt"), "{body}");
        }
        Ok(())
    }

    #[test]
    fn large_numbers_keep_their_lines() -> Result<(), askama::Error> {
        let large = ReadyEmail {
            artworks: usize::MAX,
            missing: usize::MAX,
            size_bytes: u64::MAX,
            ..mail()
        };
        check_text(&large.text()?, LINK);
        check_text(&ReadyEmail { artworks: 1, missing: 1, size_bytes: 1, ..mail() }.text()?, LINK);
        Ok(())
    }
}
