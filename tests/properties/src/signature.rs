//! A file that a web server sends as an artwork: its first bytes and the format in its row.

use image::ImageFormat;
use process_bdr_job::artwork::signature;

/// Checks that another library detects the same format, and that an HTML page is never accepted as
/// an artwork. The input is a format, a line feed, and a file.
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
        // `<html:svg>` is another element, for any meaning of its prefix.
        || page.strip_prefix(b"<html").is_some_and(|rest| {
            rest.first().is_none_or(|end| end.is_ascii_whitespace() || b"<>/".contains(end))
        });
    assert!(!(accepted && is_page), "an HTML page is accepted as {format}");
    assert!(!(accepted && file.is_empty()), "an empty file is accepted as {format}");
}
