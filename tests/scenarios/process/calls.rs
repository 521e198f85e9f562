//! What a request costs in calls, once the function is warm.

use std::collections::BTreeMap;
use std::sync::Arc;

use bdr_tests::proxy::{DatabaseWire, HttpProxy};
use bdr_tests::{Artwork, Delivery, scenario};

#[test]
fn a_small_request_takes_one_get_an_artwork_one_put_and_three_round_trips_to_the_database() {
    scenario(async |s| {
        let mut posts = Vec::new();
        for _ in 0..3 {
            posts.push(s.artwork(Artwork::default()).await);
        }
        let (first, second) = (s.request(&posts).await, s.request(&posts).await);
        let wire = DatabaseWire::start(Arc::default(), &s.database_url).await.unwrap();
        let recorder = HttpProxy::start(Arc::default(), s.stack.endpoint(), "").await.unwrap();
        let aws = recorder.sdk_config(s.stack);
        let worker = s.worker_through(&aws, &[("DATABASE_URL", wire.url())]).await;

        assert_eq!(worker.receive(first).await, Delivery::Acknowledged);
        let (cold_trips, cold_calls) = (wire.round_trips(), recorder.exchanges().len());
        assert!(cold_trips > 3, "the connection takes some too: {cold_trips}");
        assert_eq!(worker.receive(second).await, Delivery::Acknowledged);
        assert_eq!(s.row(second).await["status"], "ready");

        // The claim, everything about the request, and its being ready.
        assert_eq!(wire.round_trips() - cold_trips, 3);
        let mut calls = BTreeMap::new();
        for call in &recorder.exchanges()[cold_calls..] {
            let service = if call.request.uri().path().len() > 1 { "S3" } else { "another" };
            *calls.entry((service, call.request.method().to_string())).or_insert(0) += 1;
        }
        let calls: Vec<_> = calls.iter().map(|((to, how), n)| (*to, how.as_str(), *n)).collect();
        // The others are the lease and the e-mail.
        assert_eq!(calls, [("S3", "GET", 3), ("S3", "PUT", 1), ("another", "POST", 2)]);
    });
}
