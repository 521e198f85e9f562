//! The order of the artworks in the archive: that of the request, as far as it costs nothing.
//!
//! The vault's artworks arrive in order, the web's when their hosts respond. An artwork that arrives
//! early is held back for the earlier ones, for one second in total per request: a host that responds at
//! once keeps the order, and one that does not delays the others by no more than that.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{self, Stream, StreamExt};
use tokio::time::{Instant, timeout};

use super::{FetchedArtwork, NotFetched};

/// The time for which artworks are held back, in total per request.
const PATIENCE: Duration = Duration::from_secs(1);

type Artwork<'a> = Result<FetchedArtwork<'a>, NotFetched<'a>>;

/// Artworks that arrived, and the patience with those that did not.
struct Order<'a, S> {
    artworks: S,
    /// The position up to which all artworks were yielded.
    next: usize,
    /// Positions beyond `next`: artworks that are held back, or `None` for yielded ones.
    arrived: BTreeMap<usize, Option<Box<FetchedArtwork<'a>>>>,
    held: usize,
    patience: Duration,
    is_done: bool,
}

/// Yields `artworks` in the order of the request, except those that arrive late.
pub(super) fn in_order<'a>(
    artworks: impl Stream<Item = Artwork<'a>> + Send,
) -> impl Stream<Item = Artwork<'a>> + Send {
    with_patience(artworks, PATIENCE)
}

fn with_patience<'a>(
    artworks: impl Stream<Item = Artwork<'a>> + Send,
    patience: Duration,
) -> impl Stream<Item = Artwork<'a>> + Send {
    let order = Order {
        artworks: Box::pin(artworks),
        next: 0,
        arrived: BTreeMap::new(),
        held: 0,
        patience,
        is_done: false,
    };
    stream::unfold(order, |mut order| async move { Some((order.next().await?, order)) })
}

impl<'a, S: Stream<Item = Artwork<'a>> + Unpin> Order<'a, S> {
    async fn next(&mut self) -> Option<Artwork<'a>> {
        loop {
            if let Some(artwork) = self.take_due() {
                return Some(Ok(artwork));
            }
            match self.arrival().await? {
                Ok(artwork) if artwork.planned.position == self.next => {
                    self.next += 1;
                    return Some(Ok(artwork));
                }
                // Released, because the patience is used up.
                Ok(artwork) if self.arrived.contains_key(&artwork.planned.position) => {
                    return Some(Ok(artwork));
                }
                Ok(artwork) => {
                    self.held += 1;
                    self.arrived.insert(artwork.planned.position, Some(Box::new(artwork)));
                }
                Err(missing) => {
                    if let NotFetched::Missing(missing) = &missing {
                        self.arrived.insert(missing.position, None);
                    }
                    return Some(Err(missing));
                }
            }
        }
    }

    /// Waits for the next arrival, but not for longer than the patience while an artwork is held back.
    async fn arrival(&mut self) -> Option<Artwork<'a>> {
        if self.is_done {
            return self.release();
        }
        if self.held == 0 {
            return self.artworks.next().await;
        }
        let arrival = if self.patience.is_zero() {
            self.artworks.next().now_or_never()
        } else {
            let begun = Instant::now();
            let arrival = timeout(self.patience, self.artworks.next()).await.ok();
            self.patience = self.patience.saturating_sub(begun.elapsed());
            arrival
        };
        match arrival {
            Some(Some(artwork)) => Some(artwork),
            Some(None) => {
                self.is_done = true;
                self.release()
            }
            None => self.release(),
        }
    }

    /// Removes the artwork whose turn it is, or an early one when the patience is used up.
    fn take_due(&mut self) -> Option<FetchedArtwork<'a>> {
        while let Some(arrived) = self.arrived.remove(&self.next) {
            self.next += 1;
            if let Some(artwork) = arrived {
                self.held -= 1;
                return Some(*artwork);
            }
        }
        None
    }

    /// Removes the first artwork that is held back.
    fn release(&mut self) -> Option<Artwork<'a>> {
        let (_, slot) = self.arrived.iter_mut().find(|(_, slot)| slot.is_some())?;
        self.held -= 1;
        slot.take().map(|artwork| Ok(*artwork))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use futures_util::stream::{self, StreamExt as _};
    use shared::sqid::Sqid;

    use super::super::budget::Budget;
    use super::super::{FetchedArtwork, Formats, NotFetched, VaultUrls, plan};
    use super::with_patience;
    use crate::load::{MissingPost, Post};
    use crate::memory::{MIB, Memory};
    use crate::missing::{Missing, MissingCode};

    fn posts() -> Vec<Result<Post, MissingPost>> {
        let post = |id: i64| Post {
            id,
            sqid: Sqid::parse(&format!("p{id}")),
            title: None,
            description: None,
            hashtags: Vec::new(),
            mod_hashtags: None,
            license: None,
            source_url: None,
            art_url: Some("/vault/a.png".to_owned()),
            file_format: None,
            width: None,
            height: None,
            frame_count: None,
            created_at: None,
        };
        (0..4)
            .map(|id| {
                if id == 2 {
                    Err(MissingPost { id, missing: Missing::permanent(MissingCode::NoSuchArtwork) })
                } else {
                    Ok(post(id))
                }
            })
            .collect()
    }

    /// Yields the artworks as they arrive, each after the executor had a turn; returns the positions
    /// in the order in which they are yielded.
    async fn yielded(arrivals: [usize; 4], patience: Duration) -> Vec<usize> {
        let posts = posts();
        let budget = Budget::new(&Memory::plan(512 * MIB, MIB), false);
        let mut plans: Vec<_> =
            plan(&posts, VaultUrls::default(), Formats::default()).map(Some).collect();
        let artworks = arrivals.map(|position| match plans[position].take().unwrap() {
            Ok(planned) => {
                let share = budget.vault().take(1).now_or_never().unwrap();
                Ok(FetchedArtwork::new(planned, Bytes::new(), share))
            }
            Err(missing) => Err(NotFetched::Missing(missing)),
        });
        let artworks = stream::iter(artworks).then(|artwork| async {
            tokio::task::yield_now().await;
            artwork
        });
        let position = |artwork| async move {
            match artwork {
                Ok(FetchedArtwork { planned, .. }) => planned.position,
                Err(NotFetched::Missing(missing)) => missing.position,
                Err(NotFetched::Attempt(failure)) => panic!("{failure}"),
            }
        };
        with_patience(Box::pin(artworks), patience).then(position).collect().await
    }

    #[tokio::test]
    async fn early_artworks_are_held_back() {
        let patience = Duration::from_mins(1);
        assert_eq!(yielded([0, 1, 2, 3], patience).await, [0, 1, 2, 3]);
        assert_eq!(yielded([1, 3, 0, 2], patience).await, [0, 1, 2, 3]);
        // A missing artwork takes no place in the archive.
        assert_eq!(yielded([2, 3, 1, 0], patience).await, [2, 0, 1, 3]);
    }

    #[tokio::test]
    async fn without_patience_artworks_are_yielded_as_they_arrive() {
        assert_eq!(yielded([1, 3, 0, 2], Duration::ZERO).await, [1, 3, 0, 2]);
        assert_eq!(yielded([3, 2, 1, 0], Duration::ZERO).await, [3, 2, 1, 0]);
    }
}
