//! Checks by its first bytes that a remote file has the artwork's `file_format`.
//!
//! A host may respond with status 200 and an error page, a login form or the front page of the
//! domain's new owner; none of these may enter an archive as `art.png`. Objects of the vault were
//! checked at their upload.
//!
//! Only the signature is checked. A file that is damaged further on is the artist's own file and is
//! kept.

use crate::missing::{Missing, MissingCode};

/// Checks that a whole file may have this format. A file of an unknown format only must not be empty,
/// HTML or XML.
///
/// # Errors
/// A permanent reason. A busy host returns an error status, which is retried; what it returns with
/// status 200 is nearly always what it returns again: a page instead of a moved file, or a file of
/// another format. A retry of the request, which follows when no artwork arrives, would delay the
/// same result by a quarter of an hour and move the message to the dead-letter queue, where operators
/// can do nothing about it. The artist can request the artwork again.
pub fn check(format: &str, file: &[u8]) -> Result<(), Missing> {
    let genuine = match format {
        "png" | "apng" => file.starts_with(b"\x89PNG\r\n\x1a\n"),
        "gif" => file.starts_with(b"GIF87a") || file.starts_with(b"GIF89a"),
        "webp" => file.starts_with(b"RIFF") && file.get(8..12) == Some(&b"WEBP"[..]),
        "bmp" => file.starts_with(b"BM"),
        "jpeg" | "jpg" => file.starts_with(b"\xff\xd8\xff"),
        "avif" => brands(file).any(|brand| matches!(brand, b"avif" | b"avis")),
        _ => !file.is_empty() && !is_markup(file),
    };
    if genuine {
        return Ok(());
    }
    let detail = format!("{} bytes without the signature of {format}", file.len());
    Err(Missing::permanent(MissingCode::NotAnImage).with_detail(detail))
}

/// Returns the brands of an ISO base media file (ISO/IEC 14496-12), major and compatible ones, from
/// its first box.
fn brands(file: &[u8]) -> impl Iterator<Item = &[u8; 4]> {
    let size = file.first_chunk().map_or(0, |size| u32::from_be_bytes(*size) as usize);
    let is_ftyp = file.get(4..8) == Some(&b"ftyp"[..]);
    let names = file.get(8..size).filter(|_| is_ftyp).unwrap_or_default();
    // The second word is the version of the major brand.
    names.as_chunks().0.iter().enumerate().filter(|(at, _)| *at != 1).map(|(_, brand)| brand)
}

/// Returns whether a file begins like HTML or XML, in UTF-8 or UTF-16.
fn is_markup(file: &[u8]) -> bool {
    let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff\0"];
    let text = marks.iter().find_map(|mark| file.strip_prefix(*mark)).unwrap_or(file);
    text.trim_ascii_start().starts_with(b"<")
}

#[cfg(test)]
mod tests {
    use shared::failure::Decision;

    use super::check;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    const WEBP: &[u8] = b"RIFF\x1a\0\0\0WEBPVP8L";
    const AVIF: &[u8] = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miafrest";
    const AVIF_BY_ITS_SECOND_NAME: &[u8] = b"\0\0\0\x18ftypmif1\0\0\0\0miafavif";
    const HEIC: &[u8] = b"\0\0\0\x18ftypheic\0\0\0\0mif1heicavif";
    const SVG: &[u8] = b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- (c) --><!DOCTYPE svg><svg\nx='1'>";
    const HTML: &[u8] = b"<!DOCTYPE html><html><body>404<svg></svg></body></html>";

    #[test]
    fn a_file_with_its_formats_signature_is_accepted() {
        for (format, file) in [
            ("png", PNG),
            ("apng", PNG),
            ("gif", b"GIF87a\x01\0"),
            ("gif", b"GIF89a\x01\0"),
            ("webp", WEBP),
            ("bmp", b"BM\x3a\0\0\0"),
            ("jpg", b"\xff\xd8\xff\xe0\0\x10JFIF"),
            ("jpeg", b"\xff\xd8\xff\xdb"),
            ("avif", AVIF),
            ("avif", AVIF_BY_ITS_SECOND_NAME),
            ("qoi", b"qoif"),
            ("aseprite", b"\0\0\0\0\xe0\xa5"),
        ] {
            assert_eq!(check(format, file), Ok(()), "{format}: {}", file.escape_ascii());
        }
    }

    #[test]
    fn a_file_of_another_format_is_permanently_missing() {
        for (format, file) in [
            ("png", HTML),
            ("png", b"GIF89a\x01\0"),
            ("png", b""),
            ("png", &PNG[..7]),
            ("png", b"\x89PNG\n\x1a\n\0\0"), // mangled by a transfer as text
            ("apng", HTML),
            ("gif", PNG),
            ("gif", b"GIF88a"),
            ("gif", b"GIF89"),
            ("webp", b"RIFF\x1a\0\0\0WAVEfmt "),
            ("webp", b"JUNK\x1a\0\0\0WEBPVP8L"),
            ("webp", &WEBP[..11]),
            ("bmp", b"B"),
            ("bmp", HTML),
            ("jpg", b"\xff\xd8"),
            ("jpeg", PNG),
            ("avif", HTML),
            ("avif", &AVIF[..20]),
            ("avif", b"\0\0\0\x10ftypmp42avif"), // a version that spells a brand
            ("avif", b"\xff\xff\xff\xffftypavif"),
            ("avif", b"\0\0\0\x14freeavif\0\0\0\0avif"), // a box of another type
            ("avif", HEIC),                              // the brand stands behind the box
            ("svg", HTML),
            ("svg", b"<?xml version='1.0'?><html><svg/></html>"),
            ("svg", b"<!doctype HTML><svg/>"),
            ("svg", b"<html<s:svg x='1'>"),
            ("svg", b"<!-- <svg> --><html/>"),
            ("svg", b"<!-- <svg>"),
            ("svg", b"<?x <svg>"),
            ("svg", b"<!"),
            ("svg", b"<svgx>"),
            ("svg", b"<!-- -->"),
            ("svg", b""),
            ("svg", SVG),
            ("svg", b" <svg/>"),
            ("svg", b"<s:svg xmlns:s='http://www.w3.org/2000/svg'>"),
            ("svg", b"<!DOCTYPE svg PUBLIC '-//W3C' 'x.dtd' [ <!ENTITY a 'b'> ]>\n<svg>"),
            ("qoi", b""),
            ("qoi", HTML),
            ("qoi", b"\r\n\t <html>"),
            ("qoi", b"\xef\xbb\xbf <html>"),
            ("qoi", b"\xff\xfe<\0h\0"),
            ("qoi", b"\xfe\xff\0<\0h"),
        ] {
            let missing = check(format, file).expect_err(&file.escape_ascii().to_string());
            assert_eq!(missing.decision, Decision::Fail);
        }
    }
}
