//! Completes a ZIP whose artworks are written: adds the documents, one after the other, and the central
//! directory. Of a document only the deflated bytes are held.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Write};
use std::pin::pin;

use futures_util::stream::{StreamExt, TryStreamExt};
use shared::database::DatabaseError;
use shared::failure::{Decision, Failure, chain};
use shared::sqid::Sqid;
use shared::vault::Upload;
use time::OffsetDateTime;
use uuid::Uuid;
use zip_to_s3::zip::ZipWriter;

use super::Archiver;
use super::by_artwork::{CommentsWriter, ReactionsWriter};
use super::checksum::{Checksum, Document, DocumentWriter};
use super::documents::{Metadata, MetadataWriter, Totals, begin_missing_list};
use super::gallery::{Gallery, MAX_SHOWN, PageComments};
use super::pages::{Page, Pages};
use super::write::sink_failure;
use crate::load::{Comments, LoadedRequest, Post, ReactionSource, Reactions};

/// The level at which `metadata.json` of an archive with the page is deflated. At the default level, the sizes of
/// the files in it cost nearly as much as the page.
const METADATA_LEVEL: u32 = 2;
/// The level of large texts that repeat what other documents contain.
const FAST_LEVEL: u32 = 1;

/// What the gallery shows besides the artworks.
#[derive(Default)]
struct Feedback<'a> {
    comments: PageComments,
    reactions: Cow<'a, [Reactions]>,
}

/// The documents that are added to a ZIP.
struct Documents<'a> {
    zip: ZipWriter<&'a mut Upload>,
    now: OffsetDateTime,
    /// Their checksums, if they have any.
    checksums: Vec<(&'static str, Checksum)>,
}

impl Archiver {
    /// Adds the documents, and completes the ZIP whose artworks these are.
    ///
    /// # Errors
    /// When a document cannot be made, the archive exceeds its limit, or the upload fails.
    pub(super) async fn complete(
        &self,
        mut zip: ZipWriter<&mut Upload>,
        bdr_id: Uuid,
        request: &LoadedRequest,
        now: OffsetDateTime,
        pages: &Pages<'_>,
        totals: &mut Totals,
    ) -> Result<(), Failure> {
        let counts = totals.counts;
        zip.set_comment(if self.extras.gallery_page {
            counts.sentence(bdr_id, &self.wording, &self.base_url, now.date())
        } else {
            counts.comment(bdr_id, &self.base_url, now.date())
        });
        let mut documents = Documents { zip, now, checksums: Vec::new() };
        let mut feedback = Feedback::default();
        let (metadata, shown_pages) = self.metadata(request, now, pages, totals).await?;
        self.add(&mut documents, "metadata.json", metadata).await?;
        if counts.missing > 0 {
            let missing = self.missing_list(now, pages, totals).await?;
            self.add(&mut documents, "MISSING.txt", missing).await?;
        }
        if let Some(comments) = &request.comments {
            let (document, shown) = match self.comments(now, pages, shown_pages, comments).await {
                // A retry of the attempt would fetch every artwork again.
                Err(failure) if failure.decision() == Decision::Retry => {
                    tracing::info!(error = chain(&failure), "reading the comments again");
                    self.comments(now, pages, shown_pages, comments).await?
                }
                result => result?,
            };
            self.add(&mut documents, "comments.json", document).await?;
            feedback.comments = shown;
        }
        if let Some(reactions) = &request.reactions {
            let (document, shown) = self.reactions(now, pages, shown_pages, reactions).await?;
            self.add(&mut documents, "reactions.json", document).await?;
            feedback.reactions = shown;
        }
        if self.extras.gallery_page {
            // Only now that no other document is held.
            let gallery = self.gallery(pages, shown_pages, totals, &feedback).await?;
            self.add(&mut documents, "index.html", gallery).await?;
        }
        drop(feedback);
        if self.extras.checksums {
            let checksums = self.checksum_list(pages, &documents.checksums).await?;
            self.add(&mut documents, "SHA256SUMS", checksums).await?;
        }
        let size_bytes = documents.zip.close().await.map(|upload| upload.size());
        let size_bytes =
            size_bytes.map_err(|error| Failure::retry("failed to upload the archive", error))?;
        self.limits.check_archive(size_bytes)
    }

    /// Adds a document to the ZIP.
    async fn add(
        &self,
        documents: &mut Documents<'_>,
        name: &'static str,
        Document { file, checksum }: Document,
    ) -> Result<(), Failure> {
        let zip = &mut documents.zip;
        self.limits.check_archive(zip.sink().size() + file.bytes().len() as u64)?;
        let added = zip.add_deflated(name, documents.now, &file).await;
        added.map_err(|error| sink_failure(zip.sink(), error))?;
        documents.checksums.extend(checksum.map(|checksum| (name, checksum)));
        Ok(())
    }

    /// Returns the writer of a document with a checksum, if the archive has checksums.
    fn document(&self) -> DocumentWriter {
        DocumentWriter::new(usize::MAX, self.extras.checksums)
    }

    /// Returns `metadata.json`, and the number of pages that the gallery shows. Adds the titles of the first missing
    /// artworks to the totals.
    async fn metadata(
        &self,
        request: &LoadedRequest,
        now: OffsetDateTime,
        pages: &Pages<'_>,
        totals: &mut Totals,
    ) -> Result<(Document, usize), Failure> {
        let (handle, artworks) = (&request.artist.handle, totals.counts.artworks);
        // Without the page the document has the bytes of earlier versions.
        let writer = if self.extras.gallery_page {
            DocumentWriter::with_level(METADATA_LEVEL, self.extras.checksums)
        } else {
            self.document()
        };
        let document = MetadataWriter::new(writer, now, handle, artworks);
        let mut document = document.map_err(unwritten)?;
        let (mut artworks, mut missing, mut shown_pages) = (0, 0, 0);
        let mut all = pin!(pages.read());
        while let Some(page) = all.try_next().await? {
            let page = page.metadata()?;
            document.add(&page).map_err(unwritten)?;
            // Missing artworks take memory too.
            shown_pages += usize::from(artworks < MAX_SHOWN && missing < MAX_SHOWN);
            artworks += page.artworks();
            missing += page.missing();
        }
        document.begin_missing().map_err(unwritten)?;
        if totals.counts.missing > 0 {
            let mut all = pin!(pages.read());
            while let Some(page) = all.try_next().await? {
                let page = page.metadata()?;
                document.add_missing(&page).map_err(unwritten)?;
                totals.add_titles(&page);
            }
        }
        let document = document.finish().and_then(DocumentWriter::finish);
        Ok((document.map_err(unwritten)?, shown_pages))
    }

    /// Returns `MISSING.txt`.
    async fn missing_list(
        &self,
        now: OffsetDateTime,
        pages: &Pages<'_>,
        totals: &Totals,
    ) -> Result<Document, Failure> {
        let mut document = self.document();
        let begun = begin_missing_list(&mut document, totals.counts.missing, now, &self.base_url);
        begun.map_err(unwritten)?;
        let mut pages = pin!(pages.read());
        while let Some(page) = pages.try_next().await? {
            page.metadata()?.write_missing(&mut document).map_err(unwritten)?;
        }
        document.finish().map_err(unwritten)
    }

    /// Streams the comments from the database into `comments.json`, of which only the deflated bytes are
    /// held, and into those for the gallery, within their limits.
    async fn comments(
        &self,
        now: OffsetDateTime,
        pages: &Pages<'_>,
        shown_pages: usize,
        comments: &Comments,
    ) -> Result<(Document, PageComments), Failure> {
        let unreadable = |error: DatabaseError| error.context("failed to read the comments");
        let writer = DocumentWriter::new(self.fetcher.max_document_bytes(), self.extras.checksums);
        let mut document = CommentsWriter::new(writer, now).map_err(unwritten)?;
        let mut shown = PageComments::default();
        let mut pages = pin!(pages.read_singly().enumerate());
        while let Some((index, page)) = pages.next().await {
            let page = page?;
            // Posts without a public id are not in the document.
            let sqids = sqids(&page);
            let is_shown = self.extras.gallery_page && index < shown_pages;
            let post_ids = sqids.iter().map(|(post_id, _)| *post_id).collect();
            let sqids: HashMap<_, _> = sqids.into_iter().collect();
            let mut comments = pin!(comments.stream(&post_ids).await.map_err(unreadable)?);
            while let Some(comment) = comments.try_next().await.map_err(unreadable)? {
                let Some(sqid) = sqids.get(&comment.post_id) else { continue };
                document.add(sqid, &comment).map_err(unwritten)?;
                if is_shown {
                    shown.add(&comment);
                }
            }
        }
        let document = document.finish().and_then(DocumentWriter::finish);
        Ok((document.map_err(unwritten)?, shown))
    }

    /// Returns `reactions.json`, and the reactions for the gallery.
    async fn reactions<'a>(
        &self,
        now: OffsetDateTime,
        pages: &Pages<'_>,
        shown_pages: usize,
        source: &'a ReactionSource,
    ) -> Result<(Document, Cow<'a, [Reactions]>), Failure> {
        let mut document = ReactionsWriter::new(self.document(), now).map_err(unwritten)?;
        let mut shown = Cow::default();
        let mut pages = pin!(pages.read_singly().enumerate());
        while let Some((index, page)) = pages.next().await {
            let page = page?;
            let sqids = sqids(&page);
            let post_ids = sqids.iter().map(|(post_id, _)| *post_id).collect();
            let reactions = source.read(&post_ids).await;
            let reactions =
                reactions.map_err(|error| error.context("failed to read the reactions"))?;
            let mut by_post: HashMap<i64, Vec<&Reactions>> = HashMap::new();
            for given in &*reactions {
                by_post.entry(given.post_id).or_default().push(given);
            }
            for (post_id, sqid) in sqids {
                if let Some(given) = by_post.get(&post_id) {
                    document.add(sqid, given).map_err(unwritten)?;
                }
            }
            drop(by_post);
            if self.extras.gallery_page && index == 0 {
                shown = reactions;
            } else if self.extras.gallery_page && index < shown_pages {
                shown.to_mut().extend_from_slice(&reactions);
            }
        }
        let document = document.finish().and_then(DocumentWriter::finish);
        Ok((document.map_err(unwritten)?, shown))
    }

    /// Returns `index.html`, which shows the artworks of the first pages.
    async fn gallery(
        &self,
        pages: &Pages<'_>,
        shown_pages: usize,
        totals: &Totals,
        feedback: &Feedback<'_>,
    ) -> Result<Document, Failure> {
        let first: Vec<_> = pages.read().take(shown_pages).try_collect().await?;
        let first = first.iter().map(Page::metadata).collect::<Result<Vec<_>, _>>()?;
        let first: Vec<&Metadata<'_>> = first.iter().map(|metadata| &**metadata).collect();
        let gallery = Gallery {
            pages: &first,
            totals,
            comments: &feedback.comments,
            reactions: &feedback.reactions,
            wording: &self.wording,
            base_url: &self.base_url,
            folder: &self.artworks_folder,
            checksums: self.extras.checksums,
        };
        let mut document = DocumentWriter::with_level(FAST_LEVEL, self.extras.checksums);
        gallery.write(&mut document).map_err(unwritten)?;
        document.finish().map_err(unwritten)
    }

    /// Returns `SHA256SUMS` of the artworks and these documents.
    async fn checksum_list(
        &self,
        pages: &Pages<'_>,
        documents: &[(&str, Checksum)],
    ) -> Result<Document, Failure> {
        let mut document = DocumentWriter::with_level(FAST_LEVEL, false);
        let mut pages = pin!(pages.read());
        while let Some(page) = pages.try_next().await? {
            let written = page.metadata()?.write_checksums(&mut document, &self.artworks_folder);
            written.map_err(unwritten)?;
        }
        for (name, checksum) in documents {
            writeln!(document, "{checksum}  {name}").map_err(unwritten)?;
        }
        document.finish().map_err(unwritten)
    }
}

/// Returns the posts of a page that have a public id, in order.
fn sqids<'a>(page: &'a Page<'_>) -> Vec<(i64, &'a Sqid)> {
    let with_sqid = |post: &'a Post| Some((post.id, post.sqid.as_ref()?));
    page.posts().into_iter().filter_map(with_sqid).collect()
}

/// Returns the failure of a document that cannot be written into memory.
fn unwritten(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::FileTooLarge {
        return Failure::too_large(
            "comments.json exceeds the function's memory; to allow more, raise ProcessMemorySize",
            "These artworks have too many comments for one download. Please request fewer artworks \
             at once, or leave the comments out.",
        );
    }
    Failure::permanent_fault("failed to write the archive's documents", error)
}
