//! Fair queues: a simulation of the order in which SQS delivers messages, by its documentation
//! ("How Amazon SQS fair queues work"), because the stand-in delivers them in the order of arrival.
//!
//! A standard queue delivers older messages first. With a `MessageGroupId`, a group whose recent share
//! of the total processing time exceeds 10 % is noisy: its messages wait while those of quiet groups do
//! not, and the noisy group with the fewest messages in flight comes first. (The other criterion, 30
//! messages of the group in flight, cannot be met below a `MaximumConcurrency` of 30.) A message without
//! a group is a group of its own. A group without a backlog is no longer noisy.
//!
//! SQS documents neither how long "recent" is nor how fast it detects a noisy group; the simulation
//! assumes 5 minutes and no delay, and has a request arrive later than any plausible detection.

/// The page that states the figures, on one line.
fn api_page() -> String {
    let page = include_str!("../../../docs/api.md");
    page.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `MaximumConcurrency` of the template.
const CONCURRENCY: usize = 5;
/// Duration of a request, in seconds.
const WORK: u64 = 10;
/// Time that counts as recent, in seconds.
const RECENT: u64 = 300;

/// A message: when it is sent, and its group.
#[derive(Debug, Clone, Copy)]
struct Message {
    at: u64,
    group: Option<u32>,
}

/// A group, or a message without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tenant {
    Group(u32),
    Single(usize),
}

/// A delivery: the message's index and when it began. It ends after [`WORK`].
#[derive(Debug, Clone, Copy)]
struct Delivery {
    message: usize,
    begun: u64,
}

/// A queue and its consumers.
struct Simulation<'a> {
    messages: &'a [Message],
    deliveries: Vec<Delivery>,
}

impl Simulation<'_> {
    fn tenant(&self, message: usize) -> Tenant {
        self.messages[message].group.map_or(Tenant::Single(message), Tenant::Group)
    }

    fn waiting(&self, now: u64) -> Vec<usize> {
        let is_waiting = |index: &usize| {
            self.messages[*index].at <= now && self.deliveries.iter().all(|it| it.message != *index)
        };
        (0..self.messages.len()).filter(is_waiting).collect()
    }

    fn in_flight(&self, now: u64) -> impl Iterator<Item = &Delivery> {
        self.deliveries.iter().filter(move |it| now < it.begun + WORK)
    }

    /// Returns whether the tenant's share of the recent processing time exceeds 10 %.
    fn is_noisy(&self, tenant: Tenant, now: u64) -> bool {
        let since = now.saturating_sub(RECENT);
        let (mut own, mut all) = (0, 0);
        for delivery in &self.deliveries {
            let time = now.min(delivery.begun + WORK).saturating_sub(since.max(delivery.begun));
            all += time;
            own += if self.tenant(delivery.message) == tenant { time } else { 0 };
        }
        own * 10 > all
    }

    /// Returns the message that SQS delivers next.
    fn next(&self, now: u64) -> Option<usize> {
        let rank = |message: &usize| {
            let tenant = self.tenant(*message);
            let noisy = self.is_noisy(tenant, now);
            let own = self.in_flight(now).filter(|it| self.tenant(it.message) == tenant).count();
            (noisy, if noisy { own } else { 0 }, self.messages[*message].at, *message)
        };
        self.waiting(now).into_iter().min_by_key(rank)
    }
}

/// Returns how long each message waits for its delivery, in seconds.
fn waits(messages: &[Message]) -> Vec<u64> {
    let mut simulation = Simulation { messages, deliveries: Vec::new() };
    for now in 0.. {
        while simulation.in_flight(now).count() < CONCURRENCY
            && let Some(message) = simulation.next(now)
        {
            simulation.deliveries.push(Delivery { message, begun: now });
        }
        if simulation.deliveries.len() == messages.len() {
            break;
        }
    }
    let mut deliveries = simulation.deliveries;
    deliveries.sort_unstable_by_key(|it| it.message);
    deliveries.iter().map(|it| it.begun - messages[it.message].at).collect()
}

/// One artist's 200 requests at once, and 35 s later another artist's single one.
fn crowd(many: Option<u32>, single: Option<u32>) -> Vec<Message> {
    let mut messages = vec![Message { at: 0, group: many }; 200];
    messages.push(Message { at: 35, group: single });
    messages
}

#[test]
fn without_groups_a_request_waits_for_all_before_it() {
    assert_eq!(waits(&crowd(None, None))[200], 365);
    assert!(api_page().contains("the single one waits 365 seconds"), "docs/api.md has the figure");
}

#[test]
fn with_groups_a_request_waits_for_the_next_free_attempt() {
    let fair = waits(&crowd(Some(1), Some(2)));
    assert_eq!(fair[200], 5);
    assert!(api_page().contains("with it 5 seconds"), "docs/api.md has the figure");
    let last = |waits: &[u64]| waits[..200].iter().max().copied();
    let unfair = waits(&crowd(None, None));
    assert_eq!((last(&unfair), last(&fair)), (Some(390), Some(400)), "the 200 wait hardly longer");
    assert!(api_page().contains("400 seconds instead of 390"), "docs/api.md has the figure");
}

#[test]
fn a_message_without_a_group_is_delivered_as_before() {
    // An API that does not send the group yet: no group is noisy.
    assert_eq!(waits(&crowd(None, Some(2)))[200], 365);
    // The crowd has a group, the single request none: it is a quiet group of its own.
    assert_eq!(waits(&crowd(Some(1), None))[200], 5);
}

#[test]
fn twenty_artists_beside_a_crowd_share_the_next_free_attempts() {
    let mut messages = vec![Message { at: 0, group: Some(0) }; 200];
    messages.extend((1..=20).map(|artist| Message { at: 35, group: Some(artist) }));
    let fair = waits(&messages);
    assert_eq!(fair[200..].iter().max(), Some(&35), "four rounds of five");
    assert_eq!(fair[..200].iter().max(), Some(&430), "no message is lost");
}
