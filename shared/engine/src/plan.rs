//! The division of an archive into parts: which bodies S3 copies, which ones pass through this
//! process, and how large the parts are.
//!
//! [`Plan::new`] is a pure function of sizes, prices and rates. Three rules of S3 shape it ("Amazon S3
//! multipart upload limits"): a part is either sent or copied, every part except the last has at least
//! 5 MiB, and an upload has at most 10,000 parts. A copied body needs its local header directly
//! before it, at the end of a part that is sent. Where that part is smaller than 5 MiB, it also
//! contains the first bytes of the body, and S3 copies the rest.
//!
//! Costs: a copy saves what it costs to stream its bytes, and needs a copy request, a HEAD for
//! checksum and ETag, and on average half a part more, because it divides a run of streamed bytes. The
//! copies with the largest sum of savings are found in time proportional to the number of entries,
//! because a copy only affects the next one: a streamed body large enough for a copy already fills a
//! part. The plan is then priced, and compared with one that streams everything.

use std::ops::Range;

const MIB: u64 = 1024 * 1024;
/// Minimum size of every part except the last, and of a copied range, in bytes.
pub const MIN_PART: u64 = 5 * MIB;
/// Maximum size of a part, in bytes.
pub const MAX_PART: u64 = 5 * 1024 * MIB;
/// Maximum number of parts.
pub const MAX_PARTS: usize = 10_000;
/// Part buffers at once, at least: one fills, one is sent, one waits for its response. With them the
/// network is busy in both directions.
const BUFFERS: u64 = 3;
/// Minimum of the maximum size of a part that is sent. Twice [`MIN_PART`], so that a run of bytes
/// divided evenly has parts of at least [`MIN_PART`].
const MIN_BUFFER: u64 = 2 * MIN_PART;
/// Size of the ranges in which a large body is fetched, in bytes ("Performance design patterns for
/// Amazon S3": 8 to 16 MiB).
pub const FETCH_SIZE: u64 = 8 * MIB;

/// What a plan optimizes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Prefer {
    /// The price of requests and compute time together.
    #[default]
    Price,
    /// The time.
    Speed,
}

/// Prices in US dollars.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// A PUT, COPY, POST or LIST request.
    pub write: f64,
    /// A GET or HEAD request.
    pub read: f64,
    /// A second of compute with 1 GiB of memory.
    pub gib_second: f64,
}

impl Default for Prices {
    /// Returns the prices of us-east-1 for S3 Standard and for Lambda on Arm, as of November 2026.
    fn default() -> Self {
        Self { write: 0.005 / 1_000.0, read: 0.0004 / 1_000.0, gib_second: 0.000_013_333_4 }
    }
}

/// The conditions under which a plan is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// What the plan optimizes.
    pub prefer: Prefer,
    /// Whether S3 may copy. Without it every byte is sent.
    pub may_copy: bool,
    /// Prices.
    pub prices: Prices,
    /// Memory that is paid for, in bytes.
    pub paid_memory: u64,
    /// Memory for part buffers, in bytes: at least 20 MiB are used. Larger parts need fewer requests.
    pub buffer_memory: u64,
    /// Bytes per second that the network carries, in each direction.
    pub bytes_per_second: f64,
    /// Requests per second that S3 is sent at most.
    pub requests_per_second: f64,
}

impl Default for Terms {
    /// Returns terms for a Lambda function with 512 MB: 75 MB/s, 60 MiB of buffers.
    fn default() -> Self {
        Self {
            prefer: Prefer::default(),
            may_copy: true,
            prices: Prices::default(),
            paid_memory: 512 * MIB,
            buffer_memory: 60 * MIB,
            bytes_per_second: 75e6,
            requests_per_second: 3_000.0,
        }
    }
}

/// An entry, reduced to what a plan depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Size of the local header in bytes.
    pub header: u64,
    /// Size of the body in the archive, in bytes.
    pub body: u64,
    /// Whether S3 can copy the body: it is an object whose CRC32 and ETag are known.
    pub can_copy: bool,
}

/// Some bytes of the archive that are sent. Ranges are within the header, body or tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of the local header of an entry.
    Header {
        /// The entry.
        entry: usize,
        /// The bytes.
        range: Range<u64>,
    },
    /// Bytes of the body of an entry.
    Body {
        /// The entry.
        entry: usize,
        /// The bytes.
        range: Range<u64>,
    },
    /// Bytes after the last entry: the central directory and the end of the archive.
    Tail {
        /// The bytes.
        range: Range<u64>,
    },
}

/// A part of the upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// S3 copies bytes of an object.
    Copy {
        /// The entry.
        entry: usize,
        /// The bytes.
        range: Range<u64>,
    },
    /// The part is sent.
    Send(Vec<Piece>),
}

/// The parts of an archive, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The parts. A plan of one part is a single PUT.
    pub parts: Vec<Part>,
    /// Maximum size of a part that is sent, in bytes.
    pub part_size: u64,
    /// Number of part buffers at once.
    pub buffers: usize,
}

/// The archive does not fit into an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the archive needs {needed} parts, and S3 allows {MAX_PARTS}; to allow more, give it more buffer memory"
)]
pub struct TooManyParts {
    /// Number of parts that it needs.
    pub needed: usize,
}

/// The cost of things that a plan decides on, in dollars or seconds.
struct Costs {
    byte: f64,
    copy: f64,
    part: f64,
}

impl Terms {
    fn costs(&self, part_size: u64) -> Costs {
        let Prices { write, read, gib_second } = self.prices;
        let second = gib_second * float(self.paid_memory) / float(1024 * MIB);
        match self.prefer {
            Prefer::Price => Costs {
                byte: second / self.bytes_per_second
                    + write / float(part_size)
                    + read / float(FETCH_SIZE),
                copy: 1.5 * write + read,
                part: write,
            },
            Prefer::Speed => {
                let request = self.requests_per_second.recip();
                let byte = self.bytes_per_second.recip();
                Costs { byte, copy: 2.5 * request, part: request }
            }
        }
    }

    /// Returns whether a copy of the last `bytes` of a body saves more than it costs, where parts that are sent
    /// have `part_size` bytes. For an archive that is written as its entries arrive, without a [`Plan`].
    /// `is_read`: the bytes are read in any case, for a checksum; a copy then saves the sending alone.
    #[must_use]
    pub fn copy_pays(&self, bytes: u64, part_size: u64, is_read: bool) -> bool {
        let mut costs = self.costs(part_size);
        if is_read && self.prefer == Prefer::Price {
            costs.byte = self.prices.write / float(part_size);
        }
        self.may_copy && bytes >= MIN_PART && float(bytes) * costs.byte > costs.copy
    }

    /// Returns the size of parts that are sent when `streamed` bytes are.
    fn part_size(&self, streamed: u64) -> u64 {
        let most = (self.buffer_memory / BUFFERS).clamp(MIN_BUFFER, MAX_PART);
        let best = match self.prefer {
            // A larger part saves requests, and starts and ends the pipeline later: that wait costs
            // as much as the requests at this size.
            Prefer::Price => {
                let second = self.prices.gib_second * float(self.paid_memory) / float(1024 * MIB);
                let byte = second / self.bytes_per_second;
                whole((float(streamed) * self.prices.write / byte).sqrt())
            }
            Prefer::Speed => MIN_BUFFER,
        };
        // The part limit comes first.
        best.max(streamed / (MAX_PARTS as u64 / 2)).clamp(MIN_BUFFER, most)
    }

    /// Returns the size from which a copy of a body may pay, in bytes. Smaller bodies need no HEAD.
    #[must_use]
    pub fn crossover(&self) -> u64 {
        if !self.may_copy {
            return u64::MAX;
        }
        let costs = self.costs(self.part_size(u64::MAX));
        whole(costs.copy / costs.byte).max(MIN_PART)
    }
}

impl Plan {
    /// Plans an archive of these entries, in this order, followed by `tail` bytes.
    ///
    /// # Errors
    /// When the archive needs more than 10,000 parts.
    pub fn new(items: &[Item], tail: u64, terms: &Terms) -> Result<Self, TooManyParts> {
        let all = items.iter().map(|item| item.header + item.body).sum::<u64>() + tail;
        let prefixes = if terms.may_copy {
            choose(items, &terms.costs(terms.part_size(all)))
        } else {
            Vec::new()
        };
        let streamed = Self::divide(items, tail, &[], terms);
        if prefixes.is_empty() {
            return streamed.checked();
        }
        let copied = Self::divide(items, tail, &prefixes, terms);
        let costs = terms.costs(streamed.part_size);
        if streamed.parts.len() <= MAX_PARTS && streamed.cost(&costs) < copied.cost(&costs) {
            return Ok(streamed);
        }
        copied.checked()
    }

    fn checked(self) -> Result<Self, TooManyParts> {
        let needed = self.parts.len();
        if needed > MAX_PARTS { Err(TooManyParts { needed }) } else { Ok(self) }
    }

    /// Returns the number of bytes that S3 copies.
    #[must_use]
    pub fn copied_bytes(&self) -> u64 {
        let copied =
            |part: &Part| if let Part::Copy { range, .. } = part { size(range) } else { 0 };
        self.parts.iter().map(copied).sum()
    }

    /// Returns the cost, except what is the same for every plan.
    fn cost(&self, costs: &Costs) -> f64 {
        // The HEAD of a copy has been sent.
        let of = |part: &Part| match part {
            Part::Copy { .. } => costs.part,
            Part::Send(_) => costs.part + float(part.size()) * costs.byte,
        };
        self.parts.iter().map(of).sum()
    }

    /// Divides the archive. `prefixes` are the copied entries, each with the number of bytes of its
    /// body that are sent.
    fn divide(items: &[Item], tail: u64, prefixes: &[(usize, u64)], terms: &Terms) -> Self {
        let copied: u64 = prefixes.iter().map(|(entry, sent)| items[*entry].body - sent).sum();
        let all = items.iter().map(|item| item.header + item.body).sum::<u64>() + tail;
        let part_size = terms.part_size(all - copied);
        let mut parts = Vec::new();
        let mut run = Run::default();
        let mut prefixes = prefixes.iter().peekable();
        for (entry, item) in items.iter().enumerate() {
            run.add(Piece::Header { entry, range: 0..item.header });
            match prefixes.next_if(|(copied, _)| *copied == entry) {
                None => run.add(Piece::Body { entry, range: 0..item.body }),
                Some((_, sent)) => {
                    run.add(Piece::Body { entry, range: 0..*sent });
                    std::mem::take(&mut run).cut(part_size, &mut parts);
                    let rest = *sent..item.body;
                    let ranges = even(size(&rest), size(&rest).div_ceil(MAX_PART));
                    parts.extend(ranges.map(|range| Part::Copy {
                        entry,
                        range: rest.start + range.start..rest.start + range.end,
                    }));
                }
            }
        }
        run.add(Piece::Tail { range: 0..tail });
        run.cut(part_size, &mut parts);
        let buffers = (terms.buffer_memory / part_size).clamp(2, 16);
        Self { parts, part_size, buffers: usize::try_from(buffers).unwrap_or(2) }
    }
}

impl Part {
    /// Returns the size in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match self {
            Self::Copy { range, .. } => size(range),
            Self::Send(pieces) => pieces.iter().map(|piece| size(piece.range())).sum(),
        }
    }
}

impl Piece {
    /// Returns the bytes.
    #[must_use]
    pub fn range(&self) -> &Range<u64> {
        match self {
            Self::Header { range, .. } | Self::Body { range, .. } | Self::Tail { range } => range,
        }
    }

    fn with_range(&self, range: Range<u64>) -> Self {
        match *self {
            Self::Header { entry, .. } => Self::Header { entry, range },
            Self::Body { entry, .. } => Self::Body { entry, range },
            Self::Tail { .. } => Self::Tail { range },
        }
    }
}

/// Bytes that are sent, between two copies.
#[derive(Default)]
struct Run {
    pieces: Vec<Piece>,
    size: u64,
}

impl Run {
    fn add(&mut self, piece: Piece) {
        if !piece.range().is_empty() {
            self.size += size(piece.range());
            self.pieces.push(piece);
        }
    }

    /// Cuts the run into parts of about the same size.
    fn cut(self, part_size: u64, parts: &mut Vec<Part>) {
        let mut pieces = self.pieces.into_iter();
        let mut rest = pieces.next();
        for part in even(self.size, self.size.div_ceil(part_size)) {
            let (mut room, mut cut) = (size(&part), Vec::new());
            while room > 0
                && let Some(piece) = rest.take()
            {
                let Range { start, end } = *piece.range();
                let middle = end.min(start + room);
                room -= middle - start;
                cut.push(piece.with_range(start..middle));
                rest =
                    if middle < end { Some(piece.with_range(middle..end)) } else { pieces.next() };
            }
            parts.push(Part::Send(cut));
        }
    }
}

/// Returns the entries to copy, each with the number of bytes of its body that are sent.
fn choose(items: &[Item], costs: &Costs) -> Vec<(usize, u64)> {
    /// The best choice whose last copy is this one.
    struct Choice {
        saved: f64,
        entry: usize,
        sent: u64,
        previous: Option<usize>,
    }
    // The saving of a copy after a run of this many bytes, and how many bytes of the body are sent.
    let copy = |body: u64, run: u64| {
        let sent = MIN_PART.saturating_sub(run);
        let rest = body.checked_sub(sent).filter(|rest| *rest >= MIN_PART)?;
        Some((float(rest) * costs.byte - costs.copy, sent))
    };
    let mut choices: Vec<Choice> = Vec::new();
    // The best choice but for the latest one.
    let mut best_before: Option<usize> = None;
    // Bytes up to the body of the current entry, and up to the end of the latest candidate.
    let (mut position, mut candidate_end) = (0, 0);
    for (entry, item) in items.iter().enumerate() {
        position += item.header;
        if item.can_copy && item.body >= MIN_PART {
            let latest = choices.len().checked_sub(1);
            // After the latest candidate the run may be short. After an earlier one it contains the
            // body of the latest, after none all bytes.
            let after =
                [(None, position), (latest, position - candidate_end), (best_before, MIN_PART)];
            let saved = |choice: Option<usize>| choice.map_or(0.0, |index| choices[index].saved);
            let options = after
                .into_iter()
                .enumerate()
                .filter(|(index, (previous, _))| *index == 0 || previous.is_some())
                .filter_map(|(_, (previous, run))| {
                    let (saving, sent) = copy(item.body, run)?;
                    Some(Choice { saved: saved(previous) + saving, entry, sent, previous })
                });
            let best = options.max_by(|a, b| a.saved.total_cmp(&b.saved));
            if let Some(choice) = best {
                if let Some(latest) = latest
                    && best_before.is_none_or(|best| choices[latest].saved > choices[best].saved)
                {
                    best_before = Some(latest);
                }
                choices.push(choice);
                candidate_end = position + item.body;
            }
        }
        position += item.body;
    }
    let mut chosen = Vec::new();
    let best = choices.iter().enumerate().max_by(|a, b| a.1.saved.total_cmp(&b.1.saved));
    let mut next = best.filter(|(_, choice)| choice.saved > 0.0).map(|(index, _)| index);
    while let Some(index) = next {
        let Choice { entry, sent, previous, .. } = choices[index];
        chosen.push((entry, sent));
        next = previous;
    }
    chosen.reverse();
    chosen
}

/// Divides `size` bytes into `count` ranges whose sizes differ by at most one byte.
fn even(size: u64, count: u64) -> impl Iterator<Item = Range<u64>> {
    let at = move |index: u64| {
        // `size * index` may exceed 64 bits.
        let (size, index, count) = (u128::from(size), u128::from(index), u128::from(count));
        u64::try_from(size * index / count).unwrap_or(u64::MAX)
    };
    (0..count).map(move |index| at(index)..at(index + 1))
}

fn size(range: &Range<u64>) -> u64 {
    range.end - range.start
}

#[expect(clippy::cast_precision_loss, reason = "costs need no more than 53 bits")]
fn float(number: u64) -> f64 {
    number as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and sizes are positive"
)]
fn whole(number: f64) -> u64 {
    number as u64
}
