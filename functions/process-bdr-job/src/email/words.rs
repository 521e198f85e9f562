//! Text that all e-mails render alike: counts, sizes, dates, handles and links.

use time::{OffsetDateTime, UtcOffset};

use crate::text::{human_date, is_unprintable, one_line};

/// Maximum length of a handle, in characters. A longer one is cut and ends in `…`.
///
/// Makapix allows no longer ones, but this service does not own the column. The limit keeps the
/// greeting on one line of the text body.
const MAX_HANDLE_CHARS: usize = 50;

/// Maximum line length of a plain-text body, in characters: a reply quotes it without a break.
const MAX_LINE_CHARS: usize = 76;

/// Bytes in a kB. Units are decimal, as in most file managers.
const KILO: u64 = 1_000;

/// Formats a size: whole bytes below 1 kB, otherwise one decimal, rounded to the nearest.
pub(super) fn human_size(bytes: u64) -> String {
    if bytes < KILO {
        let plural = if bytes == 1 { "" } else { "s" };
        return format!("{bytes} byte{plural}");
    }
    let mut unit_bytes = KILO;
    let mut unit = "kB";
    for larger in ["MB", "GB", "TB"] {
        // The rounded value decides, so that 999,950 bytes are 1.0 MB and not 1000.0 kB.
        if rounded_tenths(bytes, unit_bytes) < 10 * KILO {
            break;
        }
        unit_bytes *= KILO;
        unit = larger;
    }
    let tenths = rounded_tenths(bytes, unit_bytes);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Returns `bytes` in tenths of a unit of `unit_bytes` bytes, rounded half up.
fn rounded_tenths(bytes: u64, unit_bytes: u64) -> u64 {
    let tenth = unit_bytes / 10;
    bytes / tenth + u64::from(bytes % tenth >= tenth / 2)
}

/// Formats a time in UTC: `30 November 2026, 17:45 UTC`.
///
/// Seconds are dropped, so that the e-mail never promises more time than there is.
pub(super) fn human_time(at: OffsetDateTime) -> String {
    let at = at.to_offset(UtcOffset::UTC);
    format!("{}, {:02}:{:02} UTC", human_date(at.date()), at.hour(), at.minute())
}

/// Cleans a handle: one line, no invisible or direction-changing characters, no stacks of combining
/// marks, at most [`MAX_HANDLE_CHARS`] characters, never empty.
pub(super) fn clean_handle(handle: &str) -> String {
    let mut clean = one_line(handle, MAX_HANDLE_CHARS);
    if clean.is_empty() {
        // The greeting reads "Hi there,".
        clean.push_str("there");
    }
    clean
}

/// Wraps text at [`MAX_LINE_CHARS`] characters. A longer word stays whole.
pub(super) fn wrapped(text: &str) -> String {
    textwrap::fill(text.trim(), textwrap::Options::new(MAX_LINE_CHARS).break_words(false))
}

/// Cleans a link: a line break would split it and turn its rest into text of the e-mail.
pub(super) fn clean_link(link: &str) -> String {
    link.chars().filter(|&c| !is_unprintable(c)).collect()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::{clean_handle, human_size, human_time};

    #[test]
    fn handles_are_cleaned() {
        assert_eq!(clean_handle("  Zoë   漢字 \t👩‍🎨 "), "Zoë 漢字 👩‍🎨");
        assert_eq!(
            clean_handle("\u{202e}evil\u{2066}\u{200f}\u{feff}\u{0}\u{1b}[31m\u{7f}"),
            "evil[31m"
        );
        for blank in ["", " \n ", "\u{200b}\u{202e}"] {
            assert_eq!(clean_handle(blank), "there");
        }
        for spaced in ["Zoe  B.", " Zoe B.", "Zoe B. ", "Zoe B."] {
            assert_eq!(clean_handle(spaced), "Zoe B.");
        }
        assert_eq!(clean_handle(&"x".repeat(50)), "x".repeat(50));
        assert_eq!(clean_handle(&"é".repeat(300)), format!("{}…", "é".repeat(49)));
        let stack = format!("Z{}o", "\u{301}".repeat(30));
        assert_eq!(clean_handle(&stack), "Z\u{301}\u{301}\u{301}o");
    }

    #[test]
    fn sizes() {
        for (bytes, text) in [
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
            assert_eq!(human_size(bytes), text);
        }
    }

    #[test]
    fn times_are_in_utc_and_rounded_down() {
        assert_eq!(human_time(datetime!(2026-11-30 17:45:59.9 UTC)), "30 November 2026, 17:45 UTC");
        assert_eq!(human_time(datetime!(2027-01-01 00:05 +01:00)), "31 December 2026, 23:05 UTC");
    }
}
