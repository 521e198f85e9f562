//! `cleanup`: a run of the deployed function.

use bdr_tests::scenario;

use super::{bdrctl, request};

const EXPIRED: &str = "status = 'ready', completed_at = now() - interval '8 days',
                       expires_at = now() - interval '1 day'";

#[test]
fn the_chosen_tasks_run_and_their_counts_are_printed() {
    scenario(async |s| {
        let bdr_id = request(&s, EXPIRED).await;
        s.set(bdr_id, &format!("file_path = '{}'", s.archive_key(bdr_id))).await;
        // A week and a day pending: only the task `republish` would give it up.
        let pending = request(&s, "created_at = now() - interval '8 days'").await;
        let text = bdrctl(&s, &["cleanup", "--only", "expire,orphans"]).await.ok();
        assert_eq!(s.row(bdr_id).await["status"], "expired");
        assert!(s.archive(bdr_id).await.is_none());
        assert_eq!(s.row(pending).await["status"], "pending");
        insta::with_settings!({filters => vec![(r"\d+", "[n]")]}, {
            insta::assert_snapshot!("cleanup", text);
        });
        let answer = bdrctl(&s, &["--json", "cleanup", "--only", "expire"]).await.json();
        assert!(answer["cleaned_up"].is_u64() && answer["errors"].is_null(), "{answer}");
    });
}

#[test]
fn an_unknown_task_is_rejected_before_anything_runs() {
    scenario(async |s| {
        let bdr_id = request(&s, EXPIRED).await;
        let before = s.row(bdr_id).await;
        let ran = bdrctl(&s, &["cleanup", "--only", "expire,nonsense"]).await;
        assert_eq!(ran.status, Some(2));
        assert!(ran.err.contains("expire, rescue, republish, orphans, purge"), "{}", ran.err);
        assert_eq!(s.row(bdr_id).await, before);
    });
}
