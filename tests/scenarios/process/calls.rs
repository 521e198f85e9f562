//! Number of calls that a request makes in a warm function.

use std::collections::BTreeMap;
use std::sync::Arc;

use bdr_tests::proxy::{DatabaseWire, HttpProxy};
use bdr_tests::{Artwork, Delivery, scenario};

#[test]
fn a_warm_request_makes_six_calls_and_three_database_round_trips() {
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
        assert!(cold_trips > 3, "connecting needs round trips too: {cold_trips}");
        assert_eq!(worker.receive(second).await, Delivery::Acknowledged);
        assert_eq!(s.row(second).await["status"], "ready");

        // Claim the row, load everything about the request, mark the row ready.
        assert_eq!(wire.round_trips() - cold_trips, 3);
        let mut calls = BTreeMap::new();
        for call in &recorder.exchanges()[cold_calls..] {
            let service = if call.request.uri().path().len() > 1 { "S3" } else { "another" };
            *calls.entry((service, call.request.method().to_string())).or_insert(0) += 1;
        }
        let calls: Vec<_> = calls.iter().map(|((to, how), n)| (*to, how.as_str(), *n)).collect();
        // The two other calls set the lease and send the e-mail.
        assert_eq!(calls, [("S3", "GET", 3), ("S3", "PUT", 1), ("another", "POST", 2)]);
    });
}
