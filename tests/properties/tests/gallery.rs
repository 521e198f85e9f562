//! The properties of the page hold for random texts.

use bdr_properties::{gallery, hostile};
use proptest::collection::vec;
use proptest::proptest;
use proptest::sample::select;

/// Pieces of markup, which a text combines.
const PIECES: [&str; 18] = [
    "<", ">", "\"", "'", "&", "=", "/", "\\", "<!--", "-->", "script", "</script", "<img ",
    "onerror", "]]>", "\u{2028}", "\0", " ",
];

proptest! {
    #![proptest_config(hostile::config())]

    #[test]
    fn any_text_leaves_the_elements_of_the_page_alone(
        pieces in vec(select(PIECES.to_vec()), 0..12),
        text in hostile::text(),
    ) {
        gallery::check(pieces.concat().as_bytes());
        gallery::check(text.as_bytes());
    }
}
