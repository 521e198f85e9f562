//! The end of a ZIP: whether it is whole, and what its comment counts.

use shared::vault::archive_comment;
use uuid::Uuid;

/// Returns whether these last bytes are those of the ZIP of this request with all of its artworks: docs/api.md
/// describes the comment.
pub(crate) fn is_complete(end: &[u8], bdr_id: Uuid, artworks: usize) -> bool {
    let beginning = format!("bdr {bdr_id}: {artworks} artworks, 0 missing;");
    archive_comment(end).is_some_and(|comment| comment.starts_with(beginning.as_bytes()))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::is_complete;

    #[test]
    fn only_a_whole_zip_of_the_request_without_a_missing_artwork_is_complete() {
        let id = Uuid::from_u128(7);
        let end = |comment: &str| {
            let mut end = b"PK\x05\x06".to_vec();
            end.extend([0; 16]);
            end.extend(u16::try_from(comment.len()).unwrap().to_le_bytes());
            end.extend(comment.as_bytes());
            end
        };
        let good = end(&format!("bdr {id}: 2 artworks, 0 missing; the site"));
        assert!(is_complete(&good, id, 2));
        assert!(!is_complete(&good, id, 3), "another number of artworks");
        assert!(!is_complete(&good, Uuid::nil(), 2), "another request");
        assert!(!is_complete(&good[..good.len() - 1], id, 2), "truncated");
        assert!(!is_complete(b"", id, 2), "empty");
        assert!(!is_complete(&end(&format!("bdr {id}: 1 artworks, 1 missing; …")), id, 2));
    }
}
