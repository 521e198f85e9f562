//! The properties of the forecast hold for random attempts.

use std::ops::Range;

use bdr_properties::forecast::Steady;
use bdr_properties::hostile;
use proptest::prelude::{Strategy, any};
use proptest::{prop_assert, proptest};

/// Attempts of 1 to 15 minutes at requests that take a percentage of one.
fn steady(percent: Range<u64>) -> impl Strategy<Value = Steady> {
    let parts = (200_u64..20_000, percent, 60_000_u64..900_000);
    parts.prop_map(|(artworks, percent, attempt_ms)| {
        let each_ms = (attempt_ms * percent / 100 / artworks).max(1);
        Steady { artworks: attempt_ms * percent / 100 / each_ms, each_ms, attempt_ms }
    })
}

proptest! {
    #![proptest_config(hostile::config())]

    #[test]
    fn a_request_that_a_faster_attempt_may_end_is_not_given_up(attempt in steady(5..120)) {
        prop_assert!(attempt.known_after(0, 0).is_none());
    }

    #[test]
    fn a_stalled_artwork_gives_up_no_request_that_an_attempt_ends(
        attempt in steady(5..100),
        stalled in any::<proptest::sample::Index>(),
        stall_ms in 0_u64..900_000,
    ) {
        let stalled = stalled.index(usize::try_from(attempt.artworks).unwrap_or(1)) as u64 + 1;
        prop_assert!(attempt.known_after(stalled, stall_ms).is_none(), "{stalled}, {stall_ms}");
    }

    #[test]
    fn a_request_of_more_than_two_attempts_is_given_up_in_the_first_half(attempt in steady(220..900)) {
        let known = attempt.known_after(0, 0);
        prop_assert!(known.is_some_and(|share| (0.24..0.5).contains(&share)), "{known:?}");
    }

    #[test]
    fn a_request_of_more_than_one_and_a_half_attempts_is_given_up_before_the_end(
        attempt in steady(150..900),
    ) {
        prop_assert!(attempt.known_after(0, 0).is_some());
    }
}
