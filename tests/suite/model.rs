//! Random operations, kills and restarts among them, against a plain model of the contract.
//!
//! The seed is printed; `DCHAT_SEED` repeats a run, `DCHAT_ROUNDS` sets the number of operations.
//! A failure that was understood goes into `regression` as a test of its own.

use std::collections::BTreeMap;

use crate::support::*;

const POST: &str = "/api/v1/messages";

/// What the contract says should be stored.
#[derive(Default)]
struct Model {
    messages: BTreeMap<String, Stored>,
    last_sequence: i64,
}

#[derive(Clone, Debug)]
struct Stored {
    draft: Draft,
    sequence: i64,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq)]
struct Draft {
    id: String,
    sender: String,
    recipient: Option<String>,
    channel: Option<String>,
    content: String,
}

/// What a post should be answered with.
enum Expected {
    New,
    Duplicate(Stored),
    Conflict,
}

impl Draft {
    fn random(random: &mut Random, id: String) -> Draft {
        let address = random.below(4);
        let name = random.below(3);
        Draft {
            id,
            sender: format!("u{}", random.below(3)),
            recipient: (address < 2).then(|| format!("u{name}")),
            channel: (address == 2).then(|| format!("c{name}")),
            content: format!("text {}", random.below(2)),
        }
    }

    fn json(&self) -> Value {
        json!({
            "id": self.id, "sender": self.sender, "recipient": self.recipient,
            "channel": self.channel, "content": self.content,
        })
    }

    fn first_status(&self) -> &'static str {
        if self.recipient.is_some() {
            "queued"
        } else {
            "delivered"
        }
    }
}

impl Stored {
    fn is_there(&self) -> bool {
        self.status != "deleted"
    }

    fn is_in(&self, feed: &Feed) -> bool {
        let draft = &self.draft;
        let to = |user: &String| draft.recipient.as_ref() == Some(user);
        self.is_there()
            && match feed {
                Feed::All(user) => to(user) || draft.sender == *user,
                Feed::Inbox(user) => to(user),
                Feed::Sent(user) => draft.sender == *user,
                Feed::Queued(user) => to(user) && self.status == "queued",
                Feed::Channel(name) => draft.channel.as_ref() == Some(name),
            }
    }
}

/// Whatever can be read page by page.
enum Feed {
    All(String),
    Inbox(String),
    Sent(String),
    Queued(String),
    Channel(String),
}

impl Feed {
    fn random(random: &mut Random) -> Feed {
        let user = format!("u{}", random.below(3));
        match random.below(5) {
            0 => Feed::All(user),
            1 => Feed::Inbox(user),
            2 => Feed::Sent(user),
            3 => Feed::Queued(user),
            _ => Feed::Channel(format!("c{}", random.below(3))),
        }
    }

    fn query(&self) -> String {
        match self {
            Feed::All(user) => format!("user={user}"),
            Feed::Inbox(user) => format!("user={user}&box=inbox"),
            Feed::Sent(user) => format!("user={user}&box=sent"),
            Feed::Queued(user) => format!("user={user}&status=queued"),
            Feed::Channel(name) => format!("channel={name}"),
        }
    }
}

impl Model {
    fn expected(&self, draft: &Draft) -> Expected {
        match self.messages.get(&draft.id) {
            None => Expected::New,
            Some(stored) if stored.draft == *draft => Expected::Duplicate(stored.clone()),
            Some(_) => Expected::Conflict,
        }
    }

    /// Checks one answer against the model and takes the message in.
    fn take(&mut self, draft: Draft, answer: &Value) {
        let sequence = answer["sequence"].as_i64().expect("a sequence");
        assert_eq!(answer["message_id"], draft.id);
        match self.expected(&draft) {
            Expected::New => {
                assert_eq!(answer["duplicate"], false, "{answer}");
                assert_eq!(answer["status"], draft.first_status(), "{answer}");
                assert!(
                    sequence > self.last_sequence,
                    "{sequence} after {}",
                    self.last_sequence
                );
                self.last_sequence = sequence;
                let status = draft.first_status();
                let stored = Stored {
                    draft,
                    sequence,
                    status,
                };
                self.messages.insert(stored.draft.id.clone(), stored);
            }
            Expected::Duplicate(stored) => {
                assert_eq!(answer["duplicate"], true, "{answer}");
                assert_eq!(sequence, stored.sequence);
                assert_eq!(answer["status"], stored.status, "{answer}");
            }
            Expected::Conflict => panic!("accepted a conflict: {draft:?}: {answer}"),
        }
    }

    /// Sequences of a feed in order.
    fn feed(&self, feed: &Feed) -> Vec<i64> {
        let found = self.messages.values().filter(|stored| stored.is_in(feed));
        let mut sequences: Vec<i64> = found.map(|stored| stored.sequence).collect();
        sequences.sort_unstable();
        sequences
    }

    fn acknowledge(&mut self, user: &str, which: impl Fn(&Stored) -> bool) -> usize {
        let mut count = 0;
        for stored in self.messages.values_mut() {
            let waits =
                stored.status == "queued" && stored.draft.recipient.as_deref() == Some(user);
            if waits && which(stored) {
                stored.status = "delivered";
                count += 1;
            }
        }
        count
    }

    /// An id that is known about half of the time.
    fn id(&self, random: &mut Random) -> String {
        format!("id{}", random.below(2 * self.messages.len() as u64 + 50))
    }

    /// A draft whose answer the contract settles: of a deleted id only the exact repeat.
    fn draft(&self, random: &mut Random) -> Draft {
        let id = self.id(random);
        let draft = Draft::random(random, id);
        match self.messages.get(&draft.id) {
            Some(stored) if !stored.is_there() || random.below(2) == 0 => stored.draft.clone(),
            _ => draft,
        }
    }
}

#[test]
fn relay_does_what_the_model_does() {
    let mut random = Random::seeded();
    let mut relay = Relay::start();
    let mut model = Model::default();
    for step in 0..rounds(600) {
        match random.below(100) {
            0..35 => post(&relay, &mut model, &mut random),
            35..50 => batch(&relay, &mut model, &mut random),
            50..58 => ack_ids(&relay, &mut model, &mut random),
            58..64 => ack_up_to(&relay, &mut model, &mut random),
            64..72 => delete(&relay, &mut model, &mut random),
            72..80 => get(&relay, &model, &mut random),
            80..99 => page(&relay, &model, &mut random),
            _ => {
                eprintln!("step {step}: restart");
                if random.below(2) == 0 {
                    relay.stop();
                }
                relay.restart();
            }
        }
    }
    relay.restart();
    for name in 0..3 {
        let (user, channel) = (format!("u{name}"), format!("c{name}"));
        for feed in [
            Feed::All(user.clone()),
            Feed::Inbox(user.clone()),
            Feed::Sent(user.clone()),
            Feed::Queued(user),
            Feed::Channel(channel),
        ] {
            assert_eq!(
                sequences(&relay.all(&feed.query())),
                model.feed(&feed),
                "{}",
                feed.query()
            );
        }
    }
}

fn post(relay: &Relay, model: &mut Model, random: &mut Random) {
    let draft = model.draft(random);
    let answer = relay.post(POST, &draft.json());
    match model.expected(&draft) {
        Expected::Conflict => drop(answer.refused(409, "CONFLICT")),
        _ => model.take(draft, &answer.expect(200).json()),
    }
}

fn batch(relay: &Relay, model: &mut Model, random: &mut Random) {
    let drafts: Vec<Draft> = (0..1 + random.below(8))
        .map(|_| model.draft(random))
        .collect();
    let messages: Vec<Value> = drafts.iter().map(Draft::json).collect();
    let answer = relay.post("/api/v1/messages/batch", &json!({"messages": messages}));
    let conflict = |(n, draft): (usize, &Draft)| {
        let earlier = drafts[..n]
            .iter()
            .any(|other| other.id == draft.id && other != draft);
        earlier || matches!(model.expected(draft), Expected::Conflict)
    };
    if drafts.iter().enumerate().any(conflict) {
        answer.refused(409, "CONFLICT");
        return;
    }
    let answer = answer.expect(200).json();
    for (draft, result) in drafts
        .into_iter()
        .zip(answer["results"].as_array().unwrap())
    {
        model.take(draft, result);
    }
}

fn ack_ids(relay: &Relay, model: &mut Model, random: &mut Random) {
    let user = format!("u{}", random.below(3));
    let ids: Vec<String> = (0..1 + random.below(20))
        .map(|_| model.id(random))
        .collect();
    let answer = relay.post("/api/v1/messages/ack", &json!({"user": user, "ids": ids}));
    let expected = model.acknowledge(&user, |stored| ids.contains(&stored.draft.id));
    assert_eq!(
        answer.expect(200).json()["acknowledged"],
        expected,
        "{user} {ids:?}"
    );
}

fn ack_up_to(relay: &Relay, model: &mut Model, random: &mut Random) {
    let user = format!("u{}", random.below(3));
    let up_to = random.below(model.last_sequence as u64 + 2) as i64;
    let answer = relay.post(
        "/api/v1/messages/ack",
        &json!({"user": user, "up_to": up_to}),
    );
    let expected = model.acknowledge(&user, |stored| stored.sequence <= up_to);
    assert_eq!(
        answer.expect(200).json()["acknowledged"],
        expected,
        "{user} up to {up_to}"
    );
}

fn delete(relay: &Relay, model: &mut Model, random: &mut Random) {
    let id = model.id(random);
    let answer = relay.delete(&format!("{POST}/{id}"));
    match model
        .messages
        .get_mut(&id)
        .filter(|stored| stored.is_there())
    {
        Some(stored) => {
            answer.expect(204);
            stored.status = "deleted";
        }
        None => drop(answer.refused(404, "MESSAGE_NOT_FOUND")),
    }
}

fn get(relay: &Relay, model: &Model, random: &mut Random) {
    let id = model.id(random);
    let answer = relay.get(&format!("{POST}/{id}"));
    match model.messages.get(&id).filter(|stored| stored.is_there()) {
        Some(stored) => {
            let message = answer.expect(200).json();
            assert_eq!(message["sequence"], stored.sequence, "{message}");
            assert_eq!(message["status"], stored.status, "{message}");
            for (key, value) in stored.draft.json().as_object().unwrap() {
                assert_eq!(&message[key], value, "{key} of {message}");
            }
        }
        None => drop(answer.refused(404, "MESSAGE_NOT_FOUND")),
    }
}

fn page(relay: &Relay, model: &Model, random: &mut Random) {
    let feed = Feed::random(random);
    let limit = 1 + random.below(20) as usize;
    let cursor = random.below(model.last_sequence as u64 + 2) as i64;
    let all = model.feed(&feed);
    let (query, expected, more) = match random.below(3) {
        0 => {
            let newer: Vec<i64> = all
                .into_iter()
                .filter(|sequence| *sequence > cursor)
                .collect();
            let page = newer.iter().copied().take(limit).collect::<Vec<_>>();
            (format!("&after={cursor}"), page, newer.len() > limit)
        }
        1 => {
            let older: Vec<i64> = all
                .into_iter()
                .filter(|sequence| *sequence < cursor)
                .collect();
            let from = older.len().saturating_sub(limit);
            (
                format!("&before={cursor}"),
                older[from..].to_vec(),
                from > 0,
            )
        }
        _ => {
            let from = all.len().saturating_sub(limit);
            (String::new(), all[from..].to_vec(), from > 0)
        }
    };
    let path = format!("{POST}?{}{query}&limit={limit}", feed.query());
    let answer = relay.get(&path).expect(200).json();
    assert_eq!(
        sequences(answer["messages"].as_array().unwrap()),
        expected,
        "{path}"
    );
    assert_eq!(answer["has_more"], more, "{path}");
    if let (Some(first), Some(last)) = (expected.first(), expected.last()) {
        assert_eq!(answer["next_before"], *first, "{path}");
        assert_eq!(answer["next_after"], *last, "{path}");
    }
}

fn sequences(messages: &[Value]) -> Vec<i64> {
    messages
        .iter()
        .map(|message| message["sequence"].as_i64().unwrap())
        .collect()
}
