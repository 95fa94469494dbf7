//! Pages, cursors, boxes, long polls.

use std::time::{Duration, Instant};

use crate::support::*;

/// `count` messages from alice to bob; their sequences.
fn fill(relay: &Relay, count: usize) -> Vec<i64> {
    let items: Vec<Value> = (0..count)
        .map(|n| json!({"sender": "alice", "recipient": "bob", "content": n.to_string()}))
        .collect();
    let answer = relay
        .post("/api/v1/messages/batch", &json!({"messages": items}))
        .expect(200);
    let results = answer.json()["results"].as_array().unwrap().clone();
    results
        .iter()
        .map(|result| result["sequence"].as_i64().unwrap())
        .collect()
}

fn read(relay: &Relay, query: &str) -> (Vec<i64>, Value) {
    let page = relay
        .get(&format!("/api/v1/messages?{query}"))
        .expect(200)
        .json();
    let messages = page["messages"].as_array().unwrap();
    (
        messages
            .iter()
            .map(|message| message["sequence"].as_i64().unwrap())
            .collect(),
        page,
    )
}

#[test]
fn newest_page_ascends_and_says_that_older_ones_exist() {
    let relay = Relay::start();
    let sent = fill(&relay, 150);
    let (page, whole) = read(&relay, "user=bob");
    assert_eq!(page, sent[50..]);
    assert_eq!(whole["has_more"], true);
    assert_eq!(whole["next_before"], sent[50]);
    assert_eq!(whole["next_after"], sent[149]);
}

#[test]
fn paging_forward_sees_everything_once() {
    let relay = Relay::start();
    let sent = fill(&relay, 25);
    let (mut seen, mut after, mut pages) = (Vec::new(), json!(0), 0);
    loop {
        let (page, whole) = read(&relay, &format!("user=bob&limit=10&after={after}"));
        seen.extend(page);
        after = whole["next_after"].clone();
        pages += 1;
        if whole["has_more"] == false {
            break;
        }
    }
    assert_eq!(seen, sent);
    assert_eq!(pages, 3);
}

#[test]
fn paging_backward_sees_everything_once() {
    let relay = Relay::start();
    let sent = fill(&relay, 25);
    let (mut seen, mut query) = (Vec::new(), "user=bob&limit=10".to_owned());
    loop {
        let (mut page, whole) = read(&relay, &query);
        page.extend(seen);
        seen = page;
        query = format!("user=bob&limit=10&before={}", whole["next_before"]);
        if whole["has_more"] == false {
            break;
        }
    }
    assert_eq!(seen, sent);
}

#[test]
fn page_that_ends_exactly_at_the_last_message_has_no_more() {
    let relay = Relay::start();
    let sent = fill(&relay, 10);
    let (page, whole) = read(&relay, "user=bob&after=0&limit=10");
    assert_eq!(page, sent);
    assert_eq!(whole["has_more"], false);
}

#[test]
fn empty_page_gives_the_cursor_back() {
    let relay = Relay::start();
    let last = *fill(&relay, 3).last().unwrap();
    let (page, whole) = read(&relay, &format!("user=bob&after={last}"));
    assert_eq!((page.len(), &whole["next_after"]), (0, &json!(last)));
    let (page, whole) = read(&relay, "user=bob&before=1");
    assert_eq!((page.len(), &whole["next_before"]), (0, &json!(1)));
    let (page, whole) = read(&relay, "user=stranger");
    assert_eq!(page.len(), 0);
    assert_eq!(whole["next_after"], last, "the highest committed sequence");
    assert_eq!(whole["next_before"], 0);
    assert_eq!(whole["has_more"], false);
}

#[test]
fn unknown_user_and_channel_are_empty() {
    let relay = Relay::start();
    for query in [
        "user=nobody",
        "channel=nowhere",
        "user=nobody&after=0",
        "channel=x&before=9",
    ] {
        assert_eq!(relay.page(query), [] as [Value; 0], "{query}");
    }
}

#[test]
fn boxes_part_what_was_sent_from_what_came() {
    let relay = Relay::start();
    relay.accept_from("alice", "bob", "to bob");
    relay.accept_from("bob", "alice", "from bob");
    relay.accept_from("carol", "alice", "other");
    relay.accept_from("bob", "bob", "to himself");
    let contents = |query: &str| -> Vec<String> {
        let page = relay.page(query);
        page.iter()
            .map(|message| message["content"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(contents("user=bob"), ["to bob", "from bob", "to himself"]);
    assert_eq!(
        contents("user=bob&box=all"),
        ["to bob", "from bob", "to himself"]
    );
    assert_eq!(contents("user=bob&box=inbox"), ["to bob", "to himself"]);
    assert_eq!(contents("user=bob&box=sent"), ["from bob", "to himself"]);
}

#[test]
fn queued_is_what_still_waits_for_the_user() {
    let relay = Relay::start();
    let sent = fill(&relay, 4);
    relay.accept_from("bob", "alice", "not for bob");
    relay
        .post(
            "/api/v1/messages/ack",
            &json!({"user": "bob", "up_to": sent[1]}),
        )
        .expect(200);
    assert_eq!(read(&relay, "user=bob&status=queued").0, sent[2..]);
    assert_eq!(
        read(&relay, "user=bob&status=queued&box=inbox&limit=1&after=0").0,
        [sent[2]]
    );
}

#[test]
fn channel_page_has_the_posts_of_that_channel() {
    let relay = Relay::start();
    for (channel, content) in [("red", "1"), ("blue", "2"), ("red", "3")] {
        relay.accept(json!({"sender": "alice", "channel": channel, "content": content}));
    }
    let page = relay.page("channel=red&after=0");
    let contents: Vec<&Value> = page.iter().map(|message| &message["content"]).collect();
    assert_eq!(contents, [&json!("1"), &json!("3")]);
    assert_eq!(relay.page("user=alice&box=sent").len(), 3);
}

#[test]
fn page_may_end_early_at_8_mib() {
    let relay = Relay::start();
    for _ in 0..2 {
        let item = json!({"sender": "alice", "recipient": "bob", "content": "x".repeat(64_000)});
        let items = vec![item; 100];
        relay
            .post("/api/v1/messages/batch", &json!({"messages": items}))
            .expect(200);
    }
    let answer = relay
        .get("/api/v1/messages?user=bob&after=0&limit=1000")
        .expect(200);
    assert!(
        answer.body.len() < 9 * 1024 * 1024,
        "{} bytes",
        answer.body.len()
    );
    assert_eq!(answer.json()["has_more"], true);
    assert_eq!(relay.all("user=bob").len(), 200);
}

#[test]
fn queries_that_contradict_or_leave_their_range_are_refused() {
    let relay = Relay::start();
    let mut client = relay.client();
    let long = "x".repeat(129);
    for query in [
        "",
        "limit=10",
        "user=a&channel=b",
        "user=a&after=1&before=2",
        "channel=a&box=inbox",
        "channel=a&status=queued",
        "user=a&wait=1",
        "user=a&after=0&wait=56",
        "user=a&after=0&wait=-1",
        "user=a&after=0&wait=x",
        "user=a&limit=0",
        "user=a&limit=1001",
        "user=a&limit=ten",
        "user=a&after=-1",
        "user=a&after=x",
        "user=a&before=99999999999999999999",
        "user=a&box=spam",
        "user=a&status=delivered",
        "user=",
        &format!("user={long}"),
        "user=%00",
    ] {
        let answer = client.get(&format!("/api/v1/messages?{query}"));
        assert_eq!(answer.status, 400, "?{query}: {}", answer.text());
        answer.refused(400, "INVALID_QUERY");
    }
}

#[test]
fn unknown_parameters_are_ignored() {
    let relay = Relay::start();
    fill(&relay, 1);
    assert_eq!(relay.page("user=bob&colour=blue&_=17").len(), 1);
}

#[test]
fn long_poll_answers_as_soon_as_something_comes() {
    let relay = Relay::start();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| read(&relay, "user=bob&after=0&wait=50"));
        fill(&relay, 1);
        assert_eq!(poll.join().unwrap().0.len(), 1);
    });
    assert!(
        started.elapsed() < Duration::from_secs(40),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn long_poll_answers_at_once_when_something_is_there() {
    let relay = Relay::start();
    fill(&relay, 2);
    let started = Instant::now();
    assert_eq!(read(&relay, "user=bob&after=0&wait=50").0.len(), 2);
    assert!(started.elapsed() < Duration::from_secs(40));
}

#[test]
fn long_poll_that_sees_nothing_ends_empty_after_its_wait() {
    let relay = Relay::start();
    let last = *fill(&relay, 1).last().unwrap();
    let started = Instant::now();
    let (page, whole) = read(&relay, &format!("user=bob&after={last}&wait=1"));
    assert_eq!((page.len(), &whole["next_after"]), (0, &json!(last)));
    assert!(
        started.elapsed() >= Duration::from_millis(950),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn traffic_of_others_does_not_end_a_long_poll() {
    let relay = Relay::start();
    std::thread::scope(|scope| {
        let poll = scope.spawn(|| read(&relay, "channel=quiet&after=0&wait=50"));
        fill(&relay, 3);
        relay.accept(json!({"sender": "a", "channel": "loud", "content": "x"}));
        let wanted = relay.accept(json!({"sender": "a", "channel": "quiet", "content": "x"}));
        assert_eq!(
            poll.join().unwrap().0,
            [wanted["sequence"].as_i64().unwrap()]
        );
    });
}
