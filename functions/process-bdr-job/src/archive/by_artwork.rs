//! `comments.json` and `reactions.json`: what people wrote, by artwork in the order of the request.

use std::io::{self, Write};

use serde::{Serialize, Serializer};
use shared::sqid::Sqid;
use time::OffsetDateTime;
use time::serde::rfc3339;

use super::json::{JsonWriter, Time};
use crate::load::{Comment, Reactions};

/// A document with a time and one object, whose members are named by artworks.
struct ByArtworkWriter<W> {
    json: JsonWriter<W>,
    is_empty: bool,
}

impl<W: Write> ByArtworkWriter<W> {
    fn new(writer: W, generated_at: OffsetDateTime, name: &str) -> io::Result<Self> {
        let mut json = JsonWriter::new(writer);
        json.begin_object()?;
        json.member("generated_at", true, &Time(generated_at))?;
        json.begin_member(name, false)?;
        json.begin_object()?;
        Ok(Self { json, is_empty: true })
    }

    fn begin_artwork(&mut self, sqid: &Sqid) -> io::Result<()> {
        let is_first = std::mem::take(&mut self.is_empty);
        self.json.begin_member(sqid.as_str(), is_first)
    }

    fn finish(mut self) -> io::Result<W> {
        self.json.end_object()?;
        self.json.end_member()?;
        self.json.end_object()?;
        Ok(self.json.finish())
    }
}

/// The writer of `comments.json`: comments by artwork in the order of the posts, oldest first. It
/// holds no comment.
pub(super) struct CommentsWriter<W> {
    document: ByArtworkWriter<W>,
    /// The post whose comments are being written.
    post_id: Option<i64>,
}

impl<W: Write> CommentsWriter<W> {
    /// Begins the document.
    ///
    /// # Errors
    /// Those of `writer`.
    pub(super) fn new(writer: W, generated_at: OffsetDateTime) -> io::Result<Self> {
        let document = ByArtworkWriter::new(writer, generated_at, "comments_by_artwork")?;
        Ok(Self { document, post_id: None })
    }

    /// Writes a comment on the artwork `sqid`. Those on one post must follow each other.
    ///
    /// # Errors
    /// Those of the writer.
    pub(super) fn add(&mut self, sqid: &Sqid, comment: &Comment) -> io::Result<()> {
        #[derive(Serialize)]
        struct Entry<'a> {
            id: &'a str,
            author_handle: &'a str,
            body: &'a str,
            #[serde(with = "rfc3339::option")]
            created_at: Option<OffsetDateTime>,
        }
        let is_first = self.post_id != Some(comment.post_id);
        if is_first {
            self.end_artwork()?;
            self.document.begin_artwork(sqid)?;
            self.document.json.begin_array()?;
            self.post_id = Some(comment.post_id);
        }
        let entry = Entry {
            id: &comment.id,
            author_handle: comment.author_handle.as_deref().unwrap_or("anonymous"),
            body: &comment.body,
            created_at: comment.created_at,
        };
        self.document.json.item(is_first, &entry)
    }

    /// Ends the document and returns the writer.
    ///
    /// # Errors
    /// Those of the writer.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.end_artwork()?;
        self.document.finish()
    }

    fn end_artwork(&mut self) -> io::Result<()> {
        if self.post_id.is_some() {
            self.document.json.end_array()?;
            self.document.json.end_member()?;
        }
        Ok(())
    }
}

/// The writer of `reactions.json`: counts by emoji, most frequent first, by artwork in the order of the posts.
pub(super) struct ReactionsWriter<W>(ByArtworkWriter<W>);

impl<W: Write> ReactionsWriter<W> {
    /// Begins the document.
    ///
    /// # Errors
    /// Those of `writer`.
    pub(super) fn new(writer: W, generated_at: OffsetDateTime) -> io::Result<Self> {
        ByArtworkWriter::new(writer, generated_at, "reactions_by_artwork").map(Self)
    }

    /// Writes the reactions to the artwork `sqid`.
    ///
    /// # Errors
    /// Those of the writer.
    pub(super) fn add(&mut self, sqid: &Sqid, reactions: &[&Reactions]) -> io::Result<()> {
        self.0.begin_artwork(sqid)?;
        self.0.json.value(&EmojiCounts(reactions))?;
        self.0.json.end_member()
    }

    /// Ends the document and returns the writer.
    ///
    /// # Errors
    /// Those of the writer.
    pub(super) fn finish(self) -> io::Result<W> {
        self.0.finish()
    }
}

/// Counts by emoji, in the order of the reactions.
struct EmojiCounts<'a>(&'a [&'a Reactions]);

impl Serialize for EmojiCounts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|given| (&given.emoji, given.count)))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Serialize, Serializer};
    use shared::sqid::Sqid;
    use time::OffsetDateTime;
    use time::macros::datetime;

    use super::{CommentsWriter, ReactionsWriter};
    use crate::load::{Comment, Reactions};

    const TIME: OffsetDateTime = datetime!(2025-01-02 3:04:05.6 UTC);

    fn sqid(id: i64) -> Sqid {
        Sqid::parse(&format!("s{id}")).unwrap()
    }

    /// An object with its members in the order of the pairs.
    struct Object<T>(Vec<(String, T)>);

    impl<T: Serialize> Serialize for Object<T> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
        }
    }

    #[derive(Serialize)]
    struct CommentsDocument<'a> {
        generated_at: &'a str,
        comments_by_artwork: Object<Vec<Entry<'a>>>,
    }

    #[derive(Serialize)]
    struct Entry<'a> {
        id: String,
        author_handle: &'a str,
        body: &'a str,
        created_at: &'a str,
    }

    #[derive(Serialize)]
    struct ReactionsDocument<'a> {
        generated_at: &'a str,
        reactions_by_artwork: Object<Object<i64>>,
    }

    #[test]
    fn comments_are_formatted_as_by_a_serializer() {
        for comments in [&[][..], &[(2, "a")], &[(2, "a\n\"\u{1f600}"), (2, ""), (1, "c")]] {
            let mut writer = CommentsWriter::new(Vec::new(), TIME).unwrap();
            let mut by_artwork: Vec<(String, Vec<Entry<'_>>)> = Vec::new();
            for &(post_id, body) in comments {
                let id = format!("{post_id}-7");
                let entry = Entry {
                    id: id.clone(),
                    author_handle: "anonymous",
                    body,
                    created_at: "2025-01-02T03:04:05.6Z",
                };
                let (body, created_at) = (body.to_owned(), Some(TIME));
                let comment = Comment { post_id, id, author_handle: None, body, created_at };
                writer.add(&sqid(post_id), &comment).unwrap();
                match by_artwork.last_mut() {
                    Some((last, entries)) if *last == sqid(post_id).as_str() => entries.push(entry),
                    _ => by_artwork.push((sqid(post_id).as_str().to_owned(), vec![entry])),
                }
            }
            let document = CommentsDocument {
                generated_at: "2025-01-02T03:04:05.6Z",
                comments_by_artwork: Object(by_artwork),
            };
            let expected = serde_json::to_string_pretty(&document).unwrap();
            assert_eq!(String::from_utf8(writer.finish().unwrap()).unwrap(), expected);
        }
    }

    #[test]
    fn reactions_are_formatted_as_by_a_serializer() {
        let given = |emoji: &str, count| Reactions { post_id: 1, emoji: emoji.to_owned(), count };
        let given = [given("\u{1f525}", 2), given("+1", 1)];
        let mut writer = ReactionsWriter::new(Vec::new(), TIME).unwrap();
        writer.add(&sqid(2), &[&given[0], &given[1]]).unwrap();
        writer.add(&sqid(1), &[&given[1]]).unwrap();
        let counts = |given: &[Reactions]| {
            Object(given.iter().map(|given| (given.emoji.clone(), given.count)).collect())
        };
        let by_artwork =
            vec![("s2".to_owned(), counts(&given)), ("s1".to_owned(), counts(&given[1..]))];
        let document = ReactionsDocument {
            generated_at: "2025-01-02T03:04:05.6Z",
            reactions_by_artwork: Object(by_artwork),
        };
        let expected = serde_json::to_string_pretty(&document).unwrap();
        assert_eq!(String::from_utf8(writer.finish().unwrap()).unwrap(), expected);
    }
}
