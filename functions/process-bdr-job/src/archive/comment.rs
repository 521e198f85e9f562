//! The comment of the ZIP, at its very end: how many artworks it contains and how many it lacks, for an
//! attempt that adopts it and for a person. Object metadata cannot carry the counts: those of a
//! multipart upload are fixed before the first artwork is fetched.

use shared::vault::archive_comment;
use time::Date;
use uuid::Uuid;

use crate::text::human_date;
use crate::wording::Wording;

/// The artworks of an archive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Artworks in the archive.
    pub(super) artworks: usize,
    /// Requested artworks that it lacks.
    pub(super) missing: usize,
}

impl Counts {
    /// Returns the comment of the archive that the site at `base_url` generated on `date`.
    pub(super) fn comment(self, bdr_id: Uuid, base_url: &str, date: Date) -> String {
        format!("{}; {base_url} {date}", self.text(bdr_id))
    }

    /// Returns the same with a sentence for a person in place of URL and date.
    pub(super) fn sentence(
        self,
        bdr_id: Uuid,
        wording: &Wording,
        base_url: &str,
        date: Date,
    ) -> String {
        let site = &wording.signature;
        let date = human_date(date);
        format!("{}; {site} ({base_url}) prepared this download on {date}.", self.text(bdr_id))
    }

    /// Reads the comment of an archive for `requested` artworks from the last bytes of its ZIP. Returns
    /// `None` unless the comment is one of [`Counts::comment`] or [`Counts::sentence`] for this request and
    /// its counts add up.
    pub(super) fn read(end: &[u8], bdr_id: Uuid, requested: usize) -> Option<Self> {
        let (counts, _) = str::from_utf8(archive_comment(end)?).ok()?.split_once("; ")?;
        let numbers = counts.strip_prefix(&format!("bdr {bdr_id}: "))?.strip_suffix(" missing")?;
        let (artworks, missing) = numbers.split_once(" artworks, ")?;
        let read = Self { artworks: artworks.parse().ok()?, missing: missing.parse().ok()? };
        let adds_up = read.artworks.checked_add(read.missing) == Some(requested);
        // `parse` also accepts signs and leading zeros.
        (adds_up && read.artworks > 0 && read.text(bdr_id) == counts).then_some(read)
    }

    fn text(self, bdr_id: Uuid) -> String {
        format!("bdr {bdr_id}: {} artworks, {} missing", self.artworks, self.missing)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::io::Cursor;
    use time::macros::date;
    use uuid::Uuid;

    use super::Counts;
    use crate::wording::Wording;
    use zip_to_s3::zip::{Packing, ZipWriter};

    const ID: Uuid = Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);

    /// Returns a ZIP with this comment.
    fn zip(comment: &str) -> Vec<u8> {
        let written = async {
            let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
            zip.add("a.png", None, Packing::Store, b"pixels").await.unwrap();
            zip.set_comment(comment.to_owned());
            zip.close().await.unwrap().into_inner()
        };
        written.now_or_never().unwrap()
    }

    fn comment() -> String {
        let counts = Counts { artworks: 4, missing: 1 };
        counts.comment(ID, "https://makapix.club", date!(2026 - 11 - 30))
    }

    #[test]
    fn the_comment_has_counts_site_and_date_and_reads_back() {
        assert_eq!(
            comment(),
            "bdr 12345678-9abc-def0-1234-56789abcdef0: 4 artworks, 1 missing; \
             https://makapix.club 2026-11-30"
        );
        let zip = zip(&comment());
        let expected = Some(Counts { artworks: 4, missing: 1 });
        assert_eq!(Counts::read(&zip, ID, 5), expected);
        let end = &zip[zip.len() - 22 - comment().len()..];
        assert_eq!(Counts::read(end, ID, 5), expected, "the record and the comment suffice");
    }

    #[test]
    fn the_sentence_names_site_and_date_and_reads_back() {
        let counts = Counts { artworks: 4, missing: 1 };
        let wording = Wording::default();
        let date = date!(2026 - 11 - 30);
        let sentence = counts.sentence(ID, &wording, "https://makapix.club", date);
        assert_eq!(
            sentence,
            "bdr 12345678-9abc-def0-1234-56789abcdef0: 4 artworks, 1 missing; \
             Makapix Club (https://makapix.club) prepared this download on 30 November 2026."
        );
        assert_eq!(Counts::read(&zip(&sentence), ID, 5), Some(counts));
    }

    #[test]
    fn a_truncated_zip_has_no_counts() {
        let zip = zip(&comment());
        for length in 0..zip.len() {
            assert_eq!(Counts::read(&zip[..length], ID, 5), None, "the first {length} bytes");
        }
        for length in 0..22 + comment().len() {
            let end = &zip[zip.len() - length..];
            assert_eq!(Counts::read(end, ID, 5), None, "the last {length} bytes");
        }
    }

    #[test]
    fn any_other_comment_has_no_counts() {
        let id = ID.to_string();
        let of = |id: &str, counts: &str| Counts::read(&zip(&format!("bdr {id}: {counts}")), ID, 5);
        assert_eq!(of(&id, "4 artworks, 1 missing; "), Some(Counts { artworks: 4, missing: 1 }));
        assert_eq!(of(&Uuid::nil().to_string(), "4 artworks, 1 missing; "), None);
        assert_eq!(of(&id.to_uppercase(), "4 artworks, 1 missing; "), None);
        for counts in [
            "",
            "4 artworks, 1 missing",
            "4 artworks, 1 missing ; ",
            "4 artworks, missing; ",
            " 4 artworks, 1 missing; ",
            "+4 artworks, 1 missing; ",
            "04 artworks, 1 missing; ",
            "-4 artworks, 9 missing; ",
            "4.0 artworks, 1 missing; ",
            "0 artworks, 5 missing; ",
            "5 artworks, 1 missing; ",
            "4 artworks, 18446744073709551615 missing; ",
            "18446744073709551615 artworks, 6 missing; ",
            "99999999999999999999 artworks, 1 missing; ",
            "4 artworks, 1 missing, 0 artworks, 5 missing; ",
        ] {
            assert_eq!(of(&id, counts), None, "{counts:?}");
        }
        assert_eq!(Counts::read(&zip(""), ID, 5), None);
        assert_eq!(Counts::read(comment().as_bytes(), ID, 5), None, "no end record");
        let mut longer = zip(&comment());
        longer.push(b' ');
        assert_eq!(Counts::read(&longer, ID, 5), None, "bytes after the comment");
        assert_eq!(Counts::read(&zip(&format!("{} PK\x05\x06", comment())), ID, 5), None);
        let mut not_utf8 = zip(&comment());
        *not_utf8.last_mut().unwrap() = 0xff;
        assert_eq!(Counts::read(&not_utf8, ID, 5), None);
    }
}
