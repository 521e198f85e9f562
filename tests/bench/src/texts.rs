//! `texts`: the memory for descriptions and comments.

use anyhow::{Context as _, Result};

use crate::{
    bench::{Bench, Measured},
    options::Texts,
    table::{Column, number, table},
    workload::{Seeded, Workload},
};

/// Artworks that share the comments.
const COMMENTED: u64 = 100;
/// Size of an artwork in bytes. The files are small, because the texts are measured.
const ARTWORK_BYTES: u64 = 1_000;

/// A measured request and its texts in words.
type Row = (String, Measured);

impl Bench {
    /// Measures requests without and with texts, each in a new process. Prints the measurements.
    ///
    /// # Errors
    /// When a request fails.
    pub(crate) async fn texts(&self, options: &Texts) -> Result<()> {
        let Texts { artworks, description_bytes, comments, comment_bytes } = *options;
        let mut rows = Vec::new();

        let described = self.seed_artworks(artworks).await?;
        rows.push(self.measure_texts("none".to_owned(), &described).await?);
        self.describe(&described, description_bytes).await?;
        let words = format!("descriptions of {description_bytes} bytes");
        rows.push(self.measure_texts(words, &described).await?);

        let commented = self.seed_artworks(COMMENTED).await?;
        rows.push(self.measure_texts("none".to_owned(), &commented).await?);
        self.comment(&commented, comments, comment_bytes).await?;
        let words = format!("{comments} comments of {comment_bytes} bytes");
        rows.push(self.measure_texts(words, &commented).await?);

        let columns: [Column<'_, Row>; 5] = [
            ("artworks", &|(_, measured)| measured.workload.artworks.to_string()),
            ("texts", &|(texts, _)| texts.clone()),
            ("seconds", &|(_, measured)| number(measured.round.wall_s, 1)),
            ("CPU seconds", &|(_, measured)| number(measured.round.cpu_s, 1)),
            ("peak RSS MiB", &|(_, measured)| number(measured.round.peak_mib, 1)),
        ];
        println!("{}", table(&rows, &columns));
        Ok(())
    }

    async fn seed_artworks(&self, artworks: u64) -> Result<Seeded> {
        self.seed(Workload::of_size(artworks * ARTWORK_BYTES, ARTWORK_BYTES)).await
    }

    async fn measure_texts(&self, texts: String, seeded: &Seeded) -> Result<Row> {
        let (_limits, mut function) = self.start_function(self.lambda_mb).await?;
        let measured = self.run(&mut function, seeded).await?;
        function.stop().await?;
        eprintln!("  ✓ {texts}: {:.1} s", measured.round.wall_s);
        Ok((texts, measured))
    }

    /// Gives every artwork a description. Its hexadecimal digits deflate to 57 %, English to less.
    async fn describe(&self, seeded: &Seeded, bytes: u32) -> Result<()> {
        let update = "
            UPDATE posts AS p SET description = left(
                (SELECT string_agg(md5(p.id::text || n), '') FROM generate_series(0, $2 / 32) AS n), $2)
             WHERE p.id = ANY ($1)";
        let bytes = i32::try_from(bytes)?;
        let updated = self.database.execute(update, &[&seeded.request.post_ids, &bytes]).await;
        updated.context("failed to write the descriptions")?;
        Ok(())
    }

    /// Writes comments on the artworks in turn, with texts like those of the descriptions.
    async fn comment(&self, seeded: &Seeded, comments: u32, bytes: u32) -> Result<()> {
        let insert = "
            INSERT INTO comments (post_id, author_id, body, created_at)
            SELECT ($1::integer[])[1 + n % cardinality($1)], $2,
                   left(repeat(md5(n::text) || md5((-n)::text) || md5('a' || n) || md5('b' || n),
                               1 + $4 / 128), $4),
                   timestamptz '2025-03-04 09:30:15Z' + n * interval '1 s'
              FROM generate_series(0, $3 - 1) AS n";
        let request = &seeded.request;
        let (comments, bytes) = (i32::try_from(comments)?, i32::try_from(bytes)?);
        let inserted = self
            .database
            .execute(insert, &[&request.post_ids, &request.user_id, &comments, &bytes])
            .await;
        inserted.context("failed to write the comments")?;
        Ok(())
    }
}
