//! What a web server sends as an artwork: the file's first bytes against the format of its row.

use image::ImageFormat;
use process_bdr_job::artwork::signature;

/// The input is a format, a line feed, and a file. Another library finds the same format in it, and
/// no page is taken for an artwork.
pub fn check(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let (Some(format), Some(file)) = (parts.next(), parts.next()) else { return };
    let Ok(format) = std::str::from_utf8(format) else { return };
    let accepted = signature::check(format, file).is_ok();
    let known = match format {
        "png" | "apng" => Some(ImageFormat::Png),
        "gif" => Some(ImageFormat::Gif),
        "webp" => Some(ImageFormat::WebP),
        "bmp" => Some(ImageFormat::Bmp),
        "jpeg" | "jpg" => Some(ImageFormat::Jpeg),
        _ => None,
    };
    if let Some(known) = known {
        assert_eq!(accepted, image::guess_format(file).ok() == Some(known), "{format}");
    }
    let page = file.trim_ascii_start().to_ascii_lowercase();
    let is_page = page.starts_with(b"<!doctype html")
        // `<html:svg>` is another element, whatever its prefix stands for.
        || page.strip_prefix(b"<html").is_some_and(|rest| {
            rest.first().is_none_or(|end| end.is_ascii_whitespace() || b"<>/".contains(end))
        });
    assert!(!(accepted && is_page), "a page is taken for {format}");
    assert!(!(accepted && file.is_empty()), "nothing is taken for {format}");
}
