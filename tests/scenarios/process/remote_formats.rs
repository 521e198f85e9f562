//! A file from the web enters the ZIP only if it has the artwork's format.

use bdr_tests::web::{PIXELS, WEBP};
use bdr_tests::{Artwork, Delivery, Scenario, scenario};
use local_stack::remote::RemoteHost;
use serde_json::json;
use uuid::Uuid;

use crate::process::remote_artworks::files as results;

/// An error page served with status 200.
const PAGE: &[u8] = b"\n<!DOCTYPE html><title>404</title><p>There is nothing at 10.0.0.7.";
const AVIF: &[u8] = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf and pixels";
const OTHER_FORMAT: &str = "This artwork's file does not have the format it should have.";
const NOT_SUPPORTED: &str = "This artwork's file format is not supported.";

/// Inserts a request for artworks on the web, each given by title, format and the body served with
/// status 200.
async fn request(s: &Scenario, host: &RemoteHost, files: &[(&str, &str, &[u8])]) -> Uuid {
    let mut posts = Vec::new();
    for (index, (title, format, bytes)) in files.iter().enumerate() {
        let url = host.put(&format!("/{index}.{format}"), "image/png", bytes.to_vec());
        let (file_format, art_url) = (Some(*format), Some(Some(url)));
        let artwork = Artwork { title, file_format, art_url, file: None, ..Artwork::default() };
        posts.push(s.artwork(artwork).await);
    }
    s.request(&posts).await
}

/// Processes a request for these artworks with these `EXTRA_FORMATS`. Returns each file, or the
/// reason why it is missing.
async fn fetch(
    s: &Scenario,
    extra: &str,
    files: &[(&str, &str, &[u8])],
) -> Vec<Result<Vec<u8>, String>> {
    let host = RemoteHost::start().unwrap();
    let bdr_id = request(s, &host, files).await;
    let variables = [("REMOTE_ALLOW_HOSTS", host.authority()), ("EXTRA_FORMATS", extra)];
    assert_eq!(s.worker(&variables).await.receive(bdr_id).await, Delivery::Acknowledged);
    let titles: Vec<&str> = files.iter().map(|(title, ..)| *title).collect();
    results(&s.archive(bdr_id).await.expect("a ZIP"), &titles)
}

#[test]
fn a_file_of_another_format_is_missing_and_the_others_arrive() {
    scenario(async |s| {
        let files = [
            ("a good PNG", "png", PIXELS),
            ("a page", "png", PAGE),
            ("a PNG as GIF", "gif", PIXELS),
            ("nothing", "png", b""),
            ("a signature cut short", "png", &PIXELS[..7]),
            ("an AVIF", "avif", AVIF),
            ("a good WebP", ".WEBP", WEBP),
        ];
        let results = fetch(&s, "", &files).await;
        let missing = |reason: &str| Err(reason.to_owned());
        let expected = [
            Ok(PIXELS.to_vec()),
            missing(OTHER_FORMAT),
            missing(OTHER_FORMAT),
            missing(OTHER_FORMAT),
            missing(OTHER_FORMAT),
            missing(NOT_SUPPORTED),
            Ok(WEBP.to_vec()),
        ];
        assert_eq!(results, expected);
        assert!(!format!("{:?}", s.log.lines()).contains("10.0.0.7"), "no page is logged");
    });
}

#[test]
fn configured_extra_formats_are_fetched_and_checked() {
    scenario(async |s| {
        let files = [
            ("an AVIF", "avif", AVIF),
            ("a PNG as AVIF", "avif", PIXELS),
            ("pixels of an unknown format", "qoi", b"qoif and pixels"),
            ("a page", "qoi", PAGE),
            ("not named", "svg", b"<svg/>"),
        ];
        let results = fetch(&s, "avif,qoi", &files).await;
        let missing = |reason: &str| Err(reason.to_owned());
        let expected = [
            Ok(AVIF.to_vec()),
            missing(OTHER_FORMAT),
            Ok(files[2].2.to_vec()),
            missing(OTHER_FORMAT),
            missing(NOT_SUPPORTED),
        ];
        assert_eq!(results, expected);
    });
}

#[test]
fn a_request_for_html_pages_only_fails_at_once() {
    scenario(async |s| {
        let host = RemoteHost::start().unwrap();
        let bdr_id = request(&s, &host, &[("a page", "png", PAGE)]).await;
        let worker = s.worker(&[("REMOTE_ALLOW_HOSTS", host.authority())]).await;
        assert_eq!(worker.receive(bdr_id).await, Delivery::Acknowledged);
        assert_eq!(s.row(bdr_id).await["status"], json!("failed"));
    });
}

#[test]
fn vault_objects_are_packed_without_a_format_check() {
    scenario(async |s| {
        let artwork = Artwork { file: Some(PAGE), file_format: Some("avif"), ..Artwork::default() };
        let post = s.artwork(artwork).await;
        let bdr_id = s.request(&[post]).await;
        assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
        let zip = s.archive(bdr_id).await.unwrap();
        assert_eq!(results(&zip, &["Untitled"]), [Ok(PAGE.to_vec())]);
    });
}

#[test]
fn a_vault_object_with_an_executable_extension_is_missing() {
    scenario(async |s| {
        let mut posts = Vec::new();
        for format in ["exe", ".JS", "html", "svg", "mp4", "qoi"] {
            let (title, file_format) = (format, Some(format));
            posts.push(s.artwork(Artwork { title, file_format, ..Artwork::default() }).await);
        }
        let bdr_id = s.request(&posts).await;
        assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
        let zip = s.archive(bdr_id).await.unwrap();
        let missing = zip.json("metadata.json")["missing_artworks"].clone();
        let codes: Vec<_> = missing.as_array().unwrap().iter().map(|m| m["code"].clone()).collect();
        assert_eq!(codes, vec![json!("unsupported_format"); 4]);
        let names = zip.names();
        let extensions: Vec<_> = names[..2].iter().map(|n| n.rsplit('.').next()).collect();
        assert_eq!(extensions, [Some("mp4"), Some("qoi")]);
    });
}
