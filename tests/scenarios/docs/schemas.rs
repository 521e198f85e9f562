//! `docs/schemas`: the code accepts and rejects the same values as the schemas, and the schemas describe the
//! answers of the functions and the documents of the ZIP.

use std::process::Stdio;

use bdr_tests::in_process::{Cleaner, presign};
use bdr_tests::{Artwork, Delivery, Scenario, scenario_apart};
use local_stack::seed;
use serde_json::{Value, json};
use shared::message::Message;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use super::pages::{API, ROOT};

const MESSAGE: &str = include_str!("../../../docs/schemas/message.json");
const QUESTION: &str = include_str!("../../../docs/schemas/presign-question.json");
const ANSWER: &str = include_str!("../../../docs/schemas/presign-answer.json");
const CLEANUP_EVENT: &str = include_str!("../../../docs/schemas/cleanup-event.json");
const CLEANUP_ANSWER: &str = include_str!("../../../docs/schemas/cleanup-answer.json");

/// Prints for each value whether the schema allows it, after checking the schema itself.
const VALIDATE: &str = r"
import json, sys
from jsonschema import Draft202012Validator
asked = json.load(sys.stdin)
Draft202012Validator.check_schema(asked['schema'])
validator = Draft202012Validator(asked['schema'])
print(json.dumps([validator.is_valid(value) for value in asked['values']]))
";

/// Returns for each value whether the schema allows it.
async fn allowed(s: &Scenario, schema: &str, values: &[Value]) -> Vec<bool> {
    let mut python = tokio::process::Command::new(s.stack.python())
        .args(["-c", VALIDATE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let asked = json!({"schema": parsed(schema), "values": values}).to_string();
    python.stdin.take().unwrap().write_all(asked.as_bytes()).await.unwrap();
    let output = python.wait_with_output().await.unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn parsed(schema: &str) -> Value {
    serde_json::from_str(schema).unwrap()
}

fn examples(schema: &str) -> Vec<Value> {
    parsed(schema)["examples"].as_array().unwrap().clone()
}

const ID: &str = "8c4f2a00-1d3e-4b5c-9f60-7a8b9c0d1e2f";

/// Values that are not the id of a request.
fn bad_ids() -> Vec<Value> {
    vec![json!(7), json!(null), json!(""), json!("x"), json!(&ID[1..]), json!(format!("{ID} "))]
}

#[test]
fn a_message_is_accepted_exactly_when_its_schema_allows_it() {
    scenario_apart(async |s| {
        let mut good = examples(MESSAGE);
        good.push(json!({"bdr_id": ID.to_uppercase(), "sent_by": {"api": 3}}));
        // The message that all other tests publish.
        good.push(serde_json::to_value(Message { bdr_id: Uuid::new_v4() }).unwrap());
        let mut bad = vec![json!({}), json!(null), json!([ID]), json!(ID), json!({"id": ID})];
        bad.extend(bad_ids().into_iter().map(|id| json!({"bdr_id": id})));
        for (values, is_good) in [(good, true), (bad, false)] {
            assert_eq!(allowed(&s, MESSAGE, &values).await, vec![is_good; values.len()]);
            for value in values {
                assert_eq!(Message::parse(&value.to_string()).is_ok(), is_good, "{value}");
            }
        }
    });
}

#[test]
fn a_question_is_accepted_exactly_when_its_schema_allows_it() {
    scenario_apart(async |s| {
        let mut good = examples(QUESTION);
        good.push(json!({"bdr_id": ID, "user_id": i64::MAX, "trace": "x"}));
        good.push(json!({"bdr_id": ID, "user_id": i64::MIN}));
        let mut bad = vec![json!({}), json!(null), json!([ID, 42]), json!({"bdr_id": ID})];
        bad.extend(bad_ids().into_iter().map(|id| json!({"bdr_id": id, "user_id": 42})));
        let bad_users = [json!("42"), json!(null), json!(4.5), json!(1_u64 << 63)];
        bad.extend(bad_users.map(|user| json!({"bdr_id": ID, "user_id": user})));
        for (values, is_good) in [(good, true), (bad, false)] {
            assert_eq!(allowed(&s, QUESTION, &values).await, vec![is_good; values.len()]);
            for value in values {
                assert_eq!(presign(&s, &[], value.clone()).await.is_ok(), is_good, "{value}");
            }
        }
    });
}

#[test]
fn a_user_id_with_a_fraction_is_rejected_beyond_the_schema() {
    scenario_apart(async |s| {
        let question = json!({"bdr_id": ID, "user_id": 42.0});
        assert_eq!(allowed(&s, QUESTION, std::slice::from_ref(&question)).await, [true]);
        let refused = presign(&s, &[], question).await.unwrap_err();
        assert!(refused.to_string().contains("floating point"), "{refused}");
    });
}

/// Returns the members that the schema describes for this status.
fn described(status: &Value) -> Vec<String> {
    let schema = parsed(ANSWER);
    let branches = schema["oneOf"].as_array().unwrap();
    let branch = branches.iter().find(|branch| branch["properties"]["status"]["const"] == *status);
    branch.unwrap()["properties"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn every_answer_has_exactly_the_members_of_its_schema() {
    scenario_apart(async |s| {
        let bdr_id = s.request(&[1]).await;
        let path = format!("file_path = '{}'", s.archive_key(bdr_id));
        let ready = format!("status = 'ready', {path}, file_size_bytes = 3");
        let mut answers = vec![];
        let mut ask = async |columns: &str, user_id| {
            s.set(bdr_id, columns).await;
            let question = json!({"bdr_id": bdr_id, "user_id": user_id});
            answers.push(presign(&s, &[], question).await.unwrap());
        };
        ask(&ready, s.user_id).await;
        ask("expires_at = now() + interval '7 days'", s.user_id).await;
        ask("file_size_bytes = NULL", s.user_id).await;
        ask(&ready, s.user_id + 1).await;
        for status in ["pending", "processing", "failed", "expired"] {
            ask(&format!("status = '{status}'"), s.user_id).await;
        }
        let statuses: Vec<_> = answers.iter().map(|answer| answer["status"].clone()).collect();
        let not_ready = ["not_ready"; 3];
        let expected = [&["ok", "ok", "ok", "not_found"][..], &not_ready, &["expired"]].concat();
        assert_eq!(statuses, expected);
        assert_eq!(allowed(&s, ANSWER, &answers).await, vec![true; answers.len()], "{answers:?}");
        for answer in &answers {
            let members: Vec<_> = answer.as_object().unwrap().keys().cloned().collect();
            assert_eq!(members, described(&answer["status"]));
        }

        assert_eq!(allowed(&s, ANSWER, &examples(ANSWER)).await, [true; 4]);
        let without = |member| {
            let mut answer = answers[0].clone();
            answer.as_object_mut().unwrap().remove(member);
            answer
        };
        let mut wrong =
            ["status", "url", "filename", "size_bytes", "url_expires_at"].map(without).to_vec();
        wrong.extend([json!({"status": "ready"}), json!({"status": "not_ready"}), json!([])]);
        wrong.push(json!({"status": "not_ready", "bdr_status": "ready"}));
        assert_eq!(allowed(&s, ANSWER, &wrong).await, vec![false; wrong.len()]);
    });
}

#[test]
fn a_cleanup_event_is_accepted_exactly_when_its_schema_allows_it() {
    scenario_apart(async |s| {
        // A rescue would mark it `failed`.
        let stuck = s.request(&[1]).await;
        let dead = "status = 'processing', created_at = now() - interval '1 day'";
        s.set(stuck, dead).await;
        let cleaner = Cleaner::new(&s, &[]).await;
        let scheduled = examples(CLEANUP_EVENT).pop().unwrap();
        let with = |member: &str, value: Value| {
            let mut event = scheduled.clone();
            event[member] = value;
            event
        };
        let mut bad = vec![json!(null), json!([]), json!("expire"), json!({"onlyy": ["expire"]})];
        let tasks =
            [json!([]), json!("expire"), json!(["nonsense"]), json!(["Expire"]), json!([1])];
        bad.extend(tasks.map(|tasks| json!({"only": tasks})));
        bad.push(json!({"only": ["expire"], "and": ["purge"]}));
        bad.push(json!({"only": ["expire"], "erase": {"user_sqid": "u"}}));
        bad.extend(bad_ids().into_iter().map(|id| json!({"erase": {"bdr_id": id}})));
        let users = [json!(""), json!("a/"), json!("u "), json!(5), json!("u".repeat(65))];
        bad.extend(users.map(|user| json!({"erase": {"user_sqid": user}})));
        let one = json!({"user_sqid": "u", "bdr_id": ID});
        bad.extend([json!({}), one, json!("u")].map(|target| json!({ "erase": target })));
        bad.extend([with("only", json!(["expire"])), with("detail-type", json!("Other"))]);
        assert_eq!(allowed(&s, CLEANUP_EVENT, &bad).await, vec![false; bad.len()]);
        for event in bad {
            cleaner.run(event.clone()).await.expect_err(&event.to_string());
        }
        assert_eq!(s.row(stuck).await["status"], "processing", "an invalid event runs nothing");

        let mut good = examples(CLEANUP_EVENT);
        let tasks = ["expire", "rescue", "republish", "orphans", "purge"];
        good.extend(tasks.map(|task| json!({"only": [task, task]})));
        assert_eq!(allowed(&s, CLEANUP_EVENT, &good).await, vec![true; good.len()]);
        let mut answers = examples(CLEANUP_ANSWER);
        for event in good {
            answers.push(cleaner.run(event).await.unwrap());
        }
        assert_eq!(allowed(&s, CLEANUP_ANSWER, &answers).await, vec![true; answers.len()]);
        let members =
            |answer: &Value| answer.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let schema = parsed(CLEANUP_ANSWER);
        for answer in &answers {
            let branch = usize::from(answer.get("erased").is_some());
            assert_eq!(members(answer), members(&schema["oneOf"][branch]["properties"]));
        }
    });
}

#[test]
fn every_example_passes_its_own_schema() {
    scenario_apart(async |s| {
        let folder = std::path::Path::new(ROOT).join("docs/schemas");
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let schema = std::fs::read_to_string(&path).unwrap();
            let examples = examples(&schema);
            let all = vec![true; examples.len()];
            assert_eq!(allowed(&s, &schema, &examples).await, all, "{}", path.display());
            assert!(!all.is_empty(), "{} has no example", path.display());
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(API.text.contains(&format!("(schemas/{name})")), "docs/api.md lacks {name}");
        }
    });
}

const METADATA: &str = include_str!("../../../docs/schemas/metadata.json");
const COMMENTS: &str = include_str!("../../../docs/schemas/comments.json");
const REACTIONS: &str = include_str!("../../../docs/schemas/reactions.json");

/// Returns the documents of a ZIP with artworks present and missing, a comment and reactions.
async fn documents(s: &Scenario) -> [Value; 3] {
    let present = s.artwork(Artwork::default()).await;
    let mut posts = vec![present, i32::MAX];
    for change in [
        (|artwork| artwork.file = None) as fn(&mut Artwork<'_>),
        |artwork| artwork.sqid = None,
        |artwork| artwork.art_url = Some(None),
        |artwork| artwork.file_format = Some("exe"),
        |artwork| artwork.art_url = Some(Some("file:///etc/passwd".to_owned())),
    ] {
        let mut artwork = Artwork::default();
        change(&mut artwork);
        posts.push(s.artwork(artwork).await);
    }
    let comment = "INSERT INTO comments (post_id, body, created_at)
                   VALUES ($1, 'first', now()), ($1, 'of no time', 'infinity')";
    s.database.execute(comment, &[&present]).await.unwrap();
    seed::react(&s.database, present, "\u{1f525}", 3).await.unwrap();
    let request = seed::Request {
        user_id: s.user_id,
        post_ids: posts,
        include_comments: true,
        include_reactions: true,
        ..seed::Request::default()
    };
    let bdr_id = request.insert(&s.database).await.unwrap();
    assert_eq!(s.worker(&[]).await.receive(bdr_id).await, Delivery::Acknowledged);
    let zip = s.archive(bdr_id).await.expect("an archive");
    ["metadata.json", "comments.json", "reactions.json"].map(|name| zip.json(name))
}

/// Returns copies of a document, each without one of its members, at any depth.
fn without_each_member(document: &Value, copies: &mut Vec<Value>, pointer: &str, whole: &Value) {
    let children: Vec<(String, &Value)> = match document {
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), value)).collect()
        }
        // One element stands for all.
        Value::Array(elements) => {
            elements.first().map(|it| ("0".to_owned(), it)).into_iter().collect()
        }
        _ => return,
    };
    for (name, child) in children {
        if document.is_object() {
            let mut copy = whole.clone();
            let parent = copy.pointer_mut(pointer).and_then(Value::as_object_mut).unwrap();
            parent.remove(&name);
            copies.push(copy);
        }
        without_each_member(child, copies, &format!("{pointer}/{name}"), whole);
    }
}

#[test]
fn the_documents_of_a_zip_pass_their_schemas_and_need_every_member() {
    scenario_apart(async |s| {
        let [metadata, comments, reactions] = documents(&s).await;
        assert_eq!(metadata["missing_artworks"].as_array().unwrap().len(), 6, "{metadata}");
        for (schema, document) in [(METADATA, &metadata), (COMMENTS, &comments)] {
            assert_eq!(
                allowed(&s, schema, std::slice::from_ref(document)).await,
                [true],
                "{document}"
            );
            // Checksums are not always known.
            let mut document = document.clone();
            let artworks = document.get_mut("artworks").and_then(Value::as_array_mut);
            for artwork in artworks.into_iter().flatten() {
                artwork
                    .as_object_mut()
                    .unwrap()
                    .retain(|name, _| name != "size_bytes" && name != "sha256");
            }
            let mut copies = Vec::new();
            without_each_member(&document, &mut copies, "", &document);
            // An artwork may have no comments, so its key may be absent.
            copies.retain(|copy| copy["comments_by_artwork"] != json!({}));
            assert!(copies.len() > 5);
            assert_eq!(
                allowed(&s, schema, &copies).await,
                vec![false; copies.len()],
                "{copies:#?}"
            );
        }
        let wrong = [
            json!({"generated_at": "2026-03-04T05:06:08Z"}),
            json!({"generated_at": "yesterday", "reactions_by_artwork": {}}),
            json!({"generated_at": "2026-03-04T05:06:08Z", "reactions_by_artwork": {"a": {}}}),
            json!({"generated_at": "2026-03-04T05:06:08Z", "reactions_by_artwork": {"a": {"x": "3"}}}),
        ];
        assert_eq!(allowed(&s, REACTIONS, std::slice::from_ref(&reactions)).await, [true]);
        assert_eq!(allowed(&s, REACTIONS, &wrong).await, [false; 4]);
        let sqid = metadata["artworks"][0]["sqid"].as_str().unwrap();
        assert_eq!(reactions["reactions_by_artwork"], json!({sqid: {"\u{1f525}": 3}}));
    });
}

#[test]
fn the_page_and_the_schema_list_the_same_codes() {
    let (_, table) = API.text.split_once("\n### Missing artworks\n").unwrap();
    let table = table.split("\n#").next().unwrap();
    let listed: Vec<Value> = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(code, _)| json!(code))
        .filter(|code| code != "code")
        .collect();
    assert_eq!(parsed(METADATA)["$defs"]["missing"]["properties"]["code"]["enum"], json!(listed));
}
