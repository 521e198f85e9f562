//! Text that a person reads: that of artists on one line, and dates.

use std::mem;

use time::Date;

/// Maximum number of combining marks in a row.
///
/// Orthographies need two or three. A stack of dozens covers the lines above and below.
const MAX_MARKS_IN_A_ROW: usize = 3;

/// Cleans a text: one line, no invisible or direction-changing characters, no stacks of combining
/// marks, at most `max_chars` characters. A longer one is cut and ends in `…`.
pub(crate) fn one_line(text: &str, max_chars: usize) -> String {
    if text.len() <= max_chars && is_plain(text) {
        return text.to_owned();
    }
    let mut clean = String::new();
    let (mut marks, mut has_space) = (0, false);
    for c in text.chars().filter(|&c| !is_unprintable(c)) {
        marks = if is_combining_mark(c) { marks + 1 } else { 0 };
        if c.is_whitespace() {
            has_space = !clean.is_empty();
        } else if marks <= MAX_MARKS_IN_A_ROW {
            if mem::take(&mut has_space) {
                clean.push(' ');
            }
            clean.push(c);
        }
    }
    if let Some((end, _)) = clean.char_indices().nth(max_chars) {
        clean.truncate(end);
        // The ellipsis counts towards the limit.
        clean.pop();
        clean.push('…');
    }
    clean
}

/// Returns whether a text is words of printable ASCII with one space between two. Most titles are, and are
/// clean.
fn is_plain(text: &str) -> bool {
    let is_word = |word: &[u8]| !word.is_empty() && word.iter().all(u8::is_ascii_graphic);
    text.as_bytes().split(|byte| *byte == b' ').all(is_word)
}

/// Returns a text on one line, or `None` if there is none or nothing of it is visible.
pub(crate) fn visible_line(text: Option<&str>, max_chars: usize) -> Option<String> {
    let line = one_line(text.unwrap_or_default(), max_chars);
    (!line.is_empty()).then_some(line)
}

/// Formats a date: `30 November 2026`.
pub(crate) fn human_date(date: Date) -> String {
    format!("{} {} {}", date.day(), date.month(), date.year())
}

/// Returns whether a character must not appear in a line of text: controls, line breaks, characters
/// that reorder the text around them, and invisible ones. ZWJ and ZWNJ stay: emoji and several
/// scripts need them.
pub(crate) fn is_unprintable(c: char) -> bool {
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

/// Returns whether a character is in a block of combining marks of no particular script. Stacks are
/// made of these.
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
