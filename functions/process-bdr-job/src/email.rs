//! The e-mail that tells an artist that the ZIP is ready: subject, HTML and plain text.
//!
//! This file only renders, it sends nothing. The words stand in `templates/ready.html` and
//! `templates/ready.txt`; what both say in the same way (counts, size, date, the cleaned handle) is
//! put into words here, so that the two bodies cannot disagree.

use askama::Template;
use time::{OffsetDateTime, UtcOffset};

/// Longest handle shown, in characters; a longer one is cut and ends in `…`.
///
/// Makapix allows no longer ones, but this service does not own that column: the limit keeps the
/// greeting to one line of the text body and to a few on a phone, whatever the row says.
const MAX_HANDLE_CHARS: usize = 50;

/// Combining marks shown in a row.
///
/// Real orthographies need two or three; a stack of dozens is drawn over the lines above and below.
const MAX_MARKS_IN_A_ROW: usize = 3;

/// Bytes in a kB. Decimal units, because most file managers show the ZIP in them.
const KILO: u64 = 1_000;

/// What the artist is told when the ZIP is ready.
#[derive(Clone, Copy)]
pub struct ReadyEmail<'a> {
    /// The artist's handle as the database has it. Not trusted: artists choose it.
    pub handle: &'a str,
    /// Number of artworks in the ZIP.
    pub artworks: usize,
    /// Number of artworks that were asked for and are not in the ZIP.
    pub missing: usize,
    /// Size of the ZIP in bytes.
    pub size_bytes: u64,
    /// Absolute URL of the page that hands out the ZIP; never a presigned URL, which would die
    /// before the e-mail is read.
    pub link: &'a str,
    /// When the ZIP is deleted.
    pub expires_at: OffsetDateTime,
}

impl ReadyEmail<'_> {
    /// The subject line, such as `Your Makapix download is ready (24 artworks)`.
    ///
    /// It holds nothing that anybody else wrote, so it cannot break out of its header.
    #[must_use]
    pub fn subject(&self) -> String {
        format!("Your Makapix download is ready ({})", artworks(self.artworks))
    }

    /// The HTML body: a whole document, every value escaped.
    ///
    /// # Errors
    /// Only when the template engine cannot write into the string.
    pub fn html(&self) -> Result<String, askama::Error> {
        ReadyHtml { mail: self.words() }.render()
    }

    /// The plain-text body: lines of at most 76 characters except the one with the link, ending in
    /// a newline.
    ///
    /// # Errors
    /// Only when the template engine cannot write into the string.
    pub fn text(&self) -> Result<String, askama::Error> {
        ReadyText { mail: self.words() }.render()
    }

    fn words(&self) -> Words {
        Words {
            subject: self.subject(),
            handle: clean_handle(self.handle),
            artworks: artworks(self.artworks),
            missing: self.missing,
            missing_artworks: artworks(self.missing),
            size: human_size(self.size_bytes),
            // A line break would cut the link in two and let its rest pose as our text.
            link: self.link.chars().filter(|&c| !is_unprintable(c)).collect(),
            expires: human_time(self.expires_at),
        }
    }
}

/// The values of a [`ReadyEmail`] as both bodies show them; the HTML template escapes them.
struct Words {
    subject: String,
    handle: String,
    artworks: String,
    missing: usize,
    missing_artworks: String,
    size: String,
    link: String,
    expires: String,
}

#[derive(Template)]
#[template(path = "ready.html")]
struct ReadyHtml {
    mail: Words,
}

#[derive(Template)]
#[template(path = "ready.txt")]
struct ReadyText {
    mail: Words,
}

/// `1 artwork`, `24 artworks`.
fn artworks(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} artwork{plural}")
}

/// A size in bytes for people: whole bytes below 1 kB, else one decimal, rounded to the nearest.
fn human_size(bytes: u64) -> String {
    if bytes < KILO {
        let plural = if bytes == 1 { "" } else { "s" };
        return format!("{bytes} byte{plural}");
    }
    let mut unit_bytes = KILO;
    let mut unit = "kB";
    for larger in ["MB", "GB", "TB"] {
        // Asked of the rounded value, so that 999,950 bytes are 1.0 MB and not 1000.0 kB.
        if rounded_tenths(bytes, unit_bytes) < 10 * KILO {
            break;
        }
        unit_bytes *= KILO;
        unit = larger;
    }
    let tenths = rounded_tenths(bytes, unit_bytes);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// `bytes` in tenths of a unit of `unit_bytes` bytes, rounded half up.
fn rounded_tenths(bytes: u64, unit_bytes: u64) -> u64 {
    let tenth = unit_bytes / 10;
    bytes / tenth + u64::from(bytes % tenth >= tenth / 2)
}

/// A point in time for people, in UTC: `30 November 2026, 17:45 UTC`.
///
/// Seconds are dropped, not rounded, so that the e-mail never promises more time than there is.
fn human_time(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    format!("{} {} {}, {:02}:{:02} UTC", at.day(), at.month(), at.year(), at.hour(), at.minute())
}

/// The handle as it may be shown: one line, no invisible or direction-changing characters, no
/// stacks of combining marks, at most [`MAX_HANDLE_CHARS`] characters, never empty.
fn clean_handle(handle: &str) -> String {
    let mut marks = 0;
    let printable: String = handle
        .chars()
        .filter(|&c| !is_unprintable(c))
        .filter(|&c| {
            marks = if is_combining_mark(c) { marks + 1 } else { 0 };
            marks <= MAX_MARKS_IN_A_ROW
        })
        .collect();
    let mut clean = printable.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = clean.char_indices().nth(MAX_HANDLE_CHARS) {
        clean.truncate(end);
        // Make room for the ellipsis within the limit.
        clean.pop();
        clean.push('…');
    }
    if clean.is_empty() {
        // The greeting reads "Hi there,".
        clean.push_str("there");
    }
    clean
}

/// Characters that have no place in one line of a person's name: controls and line breaks, those
/// that reorder the text around them, and those that take no room at all. ZWJ and ZWNJ stay:
/// emoji and several scripts need them.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'                      // soft hyphen
            | '\u{61c}'                   // Arabic letter mark
            | '\u{180e}'                  // Mongolian vowel separator
            | '\u{200b}'                  // zero-width space
            | '\u{200e}' | '\u{200f}'     // left-to-right and right-to-left marks
            | '\u{2028}'..='\u{202e}'     // line and paragraph separators, embeddings, overrides
            | '\u{2060}'..='\u{206f}'     // word joiner, invisible operators, isolates
            | '\u{feff}'                  // byte order mark
            | '\u{fff9}'..='\u{fffb}'     // interlinear annotation
            | '\u{e0000}'..='\u{e007f}'   // tags
        )
}

/// The blocks of combining marks that belong to no script of their own, which stacks are made of.
fn is_combining_mark(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}'
        | '\u{483}'..='\u{489}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const LINK: &str =
        "https://makapix.club/u/7Kq2Zb/posts?bdr=0b6f4c1e-2a57-4d7e-9a53-1f0c7f7f9d21";

    fn mail() -> ReadyEmail<'static> {
        ReadyEmail {
            handle: "pixelcat",
            artworks: 24,
            missing: 0,
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
    fn both_bodies_say_everything() -> Result<(), askama::Error> {
        for body in [mail().html()?, mail().text()?] {
            let body = words_of(&body);
            for said in [
                "Hi pixelcat,",
                "24 artworks",
                "48.2 MB",
                LINK,
                "until 30 November 2026, 17:45 UTC",
                "because you asked for e-mail when this download was ready",
            ] {
                assert!(body.contains(said), "{said:?} is not in:\n{body}");
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
            assert!(body.contains("metadata.json"), "{body}");
            assert!(body.contains("lists them and says why"), "{body}");
        }
        Ok(())
    }

    #[test]
    fn nothing_missing_is_not_mentioned() -> Result<(), askama::Error> {
        for body in [mail().html()?, mail().text()?] {
            let body = body.to_lowercase();
            assert!(!body.contains("missing"), "{body}");
            assert!(!body.contains("metadata.json"), "{body}");
        }
        Ok(())
    }

    #[test]
    fn handle_is_escaped_in_html_and_literal_in_text() -> Result<(), askama::Error> {
        let mail = ReadyEmail { handle: "<script>&\"'", ..mail() };
        let html = mail.html()?;
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&#60;script&#62;&#38;&#34;&#39;"), "{html}");
        assert!(mail.text()?.contains("Hi <script>&\"',\n"));
        Ok(())
    }

    #[test]
    fn newlines_in_the_handle_make_no_lines() -> Result<(), askama::Error> {
        let hostile = ReadyEmail {
            handle: "cat\r\nBcc: all@example.org\u{2028}\u{85}\n\nPay here",
            ..mail()
        };
        assert_eq!(hostile.subject(), mail().subject());
        let text = hostile.text()?;
        assert_eq!(text.lines().count(), mail().text()?.lines().count());
        assert!(text.starts_with("Hi catBcc: all@example.orgPay here,\n"));
        assert_eq!(hostile.html()?.lines().count(), mail().html()?.lines().count());
        Ok(())
    }

    #[test]
    fn handles_are_made_fit_to_show() {
        assert_eq!(clean_handle("  Zoë   漢字 \t👩‍🎨 "), "Zoë 漢字 👩‍🎨");
        assert_eq!(
            clean_handle("\u{202e}evil\u{2066}\u{200f}\u{feff}\u{0}\u{1b}[31m\u{7f}"),
            "evil[31m"
        );
        for nothing in ["", " \n ", "\u{200b}\u{202e}"] {
            assert_eq!(clean_handle(nothing), "there");
        }
        assert_eq!(clean_handle(&"x".repeat(50)), "x".repeat(50));
        assert_eq!(clean_handle(&"é".repeat(300)), format!("{}…", "é".repeat(49)));
        let stack = format!("Z{}o", "\u{301}".repeat(30));
        assert_eq!(clean_handle(&stack), "Z\u{301}\u{301}\u{301}o");
    }

    #[test]
    fn link_is_there_once_to_click_and_once_to_read() -> Result<(), askama::Error> {
        let html = mail().html()?;
        assert_eq!(html.matches("href=").count(), 1);
        assert_eq!(html.matches(&format!("href=\"{LINK}\"")).count(), 1);
        assert_eq!(html.matches(&format!(">{LINK}<")).count(), 1);
        assert_eq!(html.matches(LINK).count(), 2);
        let text = mail().text()?;
        assert_eq!(text.lines().filter(|&line| line == LINK).count(), 1);
        assert_eq!(text.matches("http").count(), 1);
        Ok(())
    }

    #[test]
    fn link_is_escaped_and_stays_on_its_line() -> Result<(), askama::Error> {
        let mail = ReadyEmail { link: "https://makapix.club/?a=\"><b>&c\r\nd", ..mail() };
        let escaped = "https://makapix.club/?a=&#34;&#62;&#60;b&#62;&#38;cd";
        assert_eq!(mail.html()?.matches(escaped).count(), 2);
        let text = mail.text()?;
        assert!(text.contains("\nhttps://makapix.club/?a=\"><b>&cd\n"));
        Ok(())
    }

    #[test]
    fn text_is_well_formed() -> Result<(), askama::Error> {
        let long = "x".repeat(300);
        for (handle, artworks, missing, size_bytes) in [
            ("pixelcat", 24, 0, 48_213_991),
            (&long, usize::MAX, usize::MAX, u64::MAX),
            ("", 1, 1, 1),
        ] {
            let text = ReadyEmail { handle, artworks, missing, size_bytes, ..mail() }.text()?;
            for line in text.lines() {
                assert!(line == LINK || line.chars().count() <= 76, "{line:?}");
                assert_eq!(line, line.trim_end(), "trailing space");
            }
            assert!(!text.contains("\n\n\n"), "{text:?}");
            assert!(!text.starts_with('\n') && text.ends_with('\n'), "{text:?}");
            assert!(!text.ends_with("\n\n"), "{text:?}");
        }
        Ok(())
    }

    #[test]
    fn html_needs_nothing_from_elsewhere_and_is_not_clipped() -> Result<(), askama::Error> {
        let html = mail().html()?;
        for from_elsewhere in ["<img", "<link", "src=", "url(", "@import", "<script"] {
            assert!(!html.contains(from_elsewhere), "{from_elsewhere}");
        }
        // Gmail cuts a message at 102 kB and drops style sheets over 16 kB.
        assert!(html.len() < 40_000, "{} bytes", html.len());
        assert!(html.starts_with("<!doctype html>"));
        assert!(html.contains("<html lang=\"en\""));
        assert!(html.contains("<title>Your Makapix download is ready (24 artworks)</title>"));
        Ok(())
    }

    #[test]
    fn sizes() {
        for (bytes, said) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1_000, "1.0 kB"),
            (1_049, "1.0 kB"),
            (1_050, "1.1 kB"),
            (950_000, "950.0 kB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (48_213_991, "48.2 MB"),
            (2_147_483_648, "2.1 GB"),
            (1_000_000_000_000, "1.0 TB"),
            (u64::MAX, "18446744.1 TB"),
        ] {
            assert_eq!(human_size(bytes), said);
        }
    }

    #[test]
    fn times_are_in_utc_and_never_later_than_the_truth() {
        assert_eq!(human_time(datetime!(2026-11-30 17:45:59.9 UTC)), "30 November 2026, 17:45 UTC");
        assert_eq!(human_time(datetime!(2027-01-01 00:05 +01:00)), "31 December 2026, 23:05 UTC");
    }

    /// The words of a body, without markup and however its lines are broken.
    fn words_of(body: &str) -> String {
        let mut in_tag = false;
        let text: String = body
            .chars()
            .filter(|&c| {
                in_tag |= c == '<';
                let shown = !in_tag;
                in_tag &= c != '>';
                shown
            })
            .collect();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
