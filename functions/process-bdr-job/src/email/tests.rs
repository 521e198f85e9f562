//! Properties of every e-mail, for any handle and any link.

use std::sync::LazyLock;

use time::macros::datetime;

use super::{Email, FailedEmail, ReadyEmail};
use crate::wording::Wording;

pub(super) const LINK: &str =
    "https://makapix.club/u/7Kq2Zb/posts?bdr=0b6f4c1e-2a57-4d7e-9a53-1f0c7f7f9d21";

/// The wording of Makapix.
pub(super) static WORDING: LazyLock<Wording> = LazyLock::new(Wording::default);

/// Returns every e-mail, to this handle and with this link.
fn every<'a>(handle: &'a str, link: &'a str) -> [Box<dyn Email + 'a>; 2] {
    let ready = ReadyEmail {
        wording: &WORDING,
        handle,
        artworks: 24,
        missing: 3,
        contents: None,
        size_bytes: 48_213_991,
        link,
        expires_at: datetime!(2026-11-30 17:45:59 UTC),
    };
    let failed =
        FailedEmail { wording: &WORDING, handle, requested: 24, message: "It did not work.", link };
    [Box::new(ready), Box::new(failed)]
}

/// Returns the words of a body, without markup and line breaks.
pub(super) fn words_of(body: &str) -> String {
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

/// Asserts that a plain-text body has no gaps, and no long line except the link.
pub(super) fn check_text(text: &str, link: &str) {
    for line in text.lines() {
        assert!(line == link || line.chars().count() <= 76, "{line:?}");
        assert_eq!(line, line.trim_end(), "trailing space");
    }
    assert!(!text.contains("\n\n\n"), "{text:?}");
    assert!(!text.starts_with('\n') && text.ends_with('\n'), "{text:?}");
    assert!(!text.ends_with("\n\n"), "{text:?}");
}

#[test]
fn handle_is_escaped_in_html_and_literal_in_text() -> Result<(), askama::Error> {
    for mail in every("<script>&\"'", LINK) {
        let html = mail.html()?;
        assert!(!html.contains("<script"), "{html}");
        assert!(html.contains("&#60;script&#62;&#38;&#34;&#39;"), "{html}");
        assert!(mail.text()?.contains("Hi <script>&\"',\n"));
    }
    Ok(())
}

#[test]
fn newlines_in_the_handle_make_no_lines() -> Result<(), askama::Error> {
    let hostile = every("cat\r\nBcc: all@example.org\u{2028}\u{85}\n\nPay here", LINK);
    for (hostile, mail) in hostile.into_iter().zip(every("pixelcat", LINK)) {
        assert_eq!(hostile.subject(), mail.subject());
        let text = hostile.text()?;
        assert_eq!(text.lines().count(), mail.text()?.lines().count());
        assert!(text.starts_with("Hi catBcc: all@example.orgPay here,\n"));
        assert_eq!(hostile.html()?.lines().count(), mail.html()?.lines().count());
    }
    Ok(())
}

#[test]
fn link_is_there_once_to_click_and_once_to_read() -> Result<(), askama::Error> {
    for mail in every("pixelcat", LINK) {
        let html = mail.html()?;
        assert_eq!(html.matches("href=").count(), 1);
        assert_eq!(html.matches(&format!("href=\"{LINK}\"")).count(), 1);
        assert_eq!(html.matches(&format!(">{LINK}<")).count(), 1);
        assert_eq!(html.matches(LINK).count(), 2);
        let text = mail.text()?;
        assert_eq!(text.lines().filter(|&line| line == LINK).count(), 1);
        assert_eq!(text.matches("http").count(), 1);
    }
    Ok(())
}

#[test]
fn link_is_escaped_and_stays_on_its_line() -> Result<(), askama::Error> {
    for mail in every("pixelcat", "https://makapix.club/?a=\"><b>&c\r\nd") {
        let escaped = "https://makapix.club/?a=&#34;&#62;&#60;b&#62;&#38;cd";
        assert_eq!(mail.html()?.matches(escaped).count(), 2);
        assert!(mail.text()?.contains("\nhttps://makapix.club/?a=\"><b>&cd\n"));
    }
    Ok(())
}

#[test]
fn text_is_well_formed() -> Result<(), askama::Error> {
    for handle in ["pixelcat", &"x".repeat(300), ""] {
        for mail in every(handle, LINK) {
            check_text(&mail.text()?, LINK);
        }
    }
    Ok(())
}

#[test]
fn html_needs_nothing_from_elsewhere_and_is_not_clipped() -> Result<(), askama::Error> {
    for mail in every("pixelcat", LINK) {
        let html = mail.html()?;
        for from_elsewhere in ["<img", "<link", "src=", "url(", "@import", "<script"] {
            assert!(!html.contains(from_elsewhere), "{from_elsewhere}");
        }
        // Gmail cuts a message at 102 kB and drops style sheets over 16 kB.
        assert!(html.len() < 40_000, "{} bytes", html.len());
        assert!(html.starts_with("<!doctype html>"));
        assert!(html.contains("<html lang=\"en\""));
        assert!(html.contains(&format!("<title>{}</title>", mail.subject())));
    }
    Ok(())
}

#[test]
fn another_sites_wording_replaces_every_name() -> Result<(), askama::Error> {
    let wording = Wording::new(Some("Lumen & Co"), Some(["photo", "photos"]));
    let handle = "pixelcat";
    let link = "https://photos.example/";
    let ready = ReadyEmail {
        wording: &wording,
        handle,
        artworks: 2,
        missing: 1,
        contents: None,
        size_bytes: 1,
        link,
        expires_at: datetime!(2026-11-30 17:45:59 UTC),
    };
    let failed = FailedEmail { wording: &wording, handle, requested: 1, message: "No.", link };
    for mail in [&ready as &dyn Email, &failed] {
        for text in [mail.subject(), mail.text()?, words_of(&mail.html()?)] {
            assert!(text.contains("Lumen &"), "{text}");
            let lower = text.to_lowercase();
            assert!(!lower.contains("makapix") && !lower.contains("artwork"), "{text}");
        }
    }
    assert_eq!(ready.subject(), "Your Lumen & Co download is ready (2 photos)");
    assert!(ready.text()?.contains("1 photo is missing"));
    Ok(())
}
