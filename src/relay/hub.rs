//! The hub: which mailbox or channel has reached which sequence.
//!
//! It carries no messages. A session watches a feed, reads forward from storage at its own cursor
//! and waits here only once it has read everything, so falling behind costs time, never messages.
//! Memory is bounded by live watches: the last watch of a mailbox or channel takes its entry along.
//!
//! Published on the writer thread, after the answers and in commit order; watched from any task.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::message::Sequence;
use super::page::{Feed, MailboxBox};

/// Enough that 64 sessions that come and go do not meet the writer on one lock.
const SHARDS: usize = 16;

#[derive(Clone)]
pub(super) struct Hub {
    inner: Arc<Inner>,
}

struct Inner {
    shards: [Mutex<HashMap<Key, Entry>>; SHARDS],
    hasher: RandomState,
    /// Entries of all shards; 0 lets the writer skip the hub.
    entries: AtomicUsize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Mailbox(Arc<str>),
    Channel(Arc<str>),
}

struct Entry {
    sender: watch::Sender<Reached>,
    watches: usize,
}

/// Highest sequences published since the entry exists; 0 where nothing was.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    /// Addressed to the user, or posted to the channel.
    inbox: i64,
    sent: i64,
}

/// One session's view of one feed. Dropping it is the way to unsubscribe.
pub struct Watch {
    hub: Hub,
    key: Key,
    which: MailboxBox,
    receiver: watch::Receiver<Reached>,
    seen: i64,
}

impl Watch {
    /// Highest sequence of the feed published since anyone watches it, 0 if none.
    ///
    /// Not where the feed ends: first read storage, then wait.
    pub fn reached(&self) -> Sequence {
        Sequence(self.receiver.borrow().of(self.which))
    }

    /// Waits until the feed has grown since the last call (or since the watch began).
    ///
    /// Cancellation safe: growth that a dropped call has not reported is reported by the next.
    pub async fn changed(&mut self) -> Sequence {
        loop {
            let reached = self.receiver.borrow_and_update().of(self.which);
            if reached > self.seen {
                self.seen = reached;
                return Sequence(reached);
            }
            if self.receiver.changed().await.is_err() {
                // The sender lives in the hub as long as this watch does.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.hub.leave(&self.key);
    }
}

impl Reached {
    fn of(&self, which: MailboxBox) -> i64 {
        match which {
            MailboxBox::All => self.inbox.max(self.sent),
            MailboxBox::Inbox | MailboxBox::Queued => self.inbox,
            MailboxBox::Sent => self.sent,
        }
    }
}

impl Hub {
    pub(super) fn new() -> Hub {
        Hub {
            inner: Arc::new(Inner {
                shards: std::array::from_fn(|_| Mutex::default()),
                hasher: RandomState::new(),
                entries: AtomicUsize::new(0),
            }),
        }
    }

    /// Growth from now on is reported; what was published before is not.
    pub(super) fn watch(&self, feed: &Feed) -> Watch {
        let (key, which) = match feed {
            Feed::Mailbox { user, which } => (Key::Mailbox(user.shared()), *which),
            Feed::Channel(channel) => (Key::Channel(channel.shared()), MailboxBox::Inbox),
        };
        let mut shard = self.shard(&key);
        let entry = shard.entry(key.clone()).or_insert_with(|| {
            self.inner.entries.fetch_add(1, Ordering::SeqCst);
            Entry {
                sender: watch::Sender::new(Reached::default()),
                watches: 0,
            }
        });
        entry.watches += 1;
        let receiver = entry.sender.subscribe();
        drop(shard);
        let seen = receiver.borrow().of(which);
        Watch {
            hub: self.clone(),
            key,
            which,
            receiver,
            seen,
        }
    }

    /// Nobody watches anything, so that there is nothing to publish.
    ///
    /// A session watches before it reads, so one that is missed here finds the message in storage.
    pub(super) fn is_idle(&self) -> bool {
        self.inner.entries.load(Ordering::SeqCst) == 0
    }

    pub(super) fn publish_sent(&self, sender: &Arc<str>, sequence: i64) {
        self.raise(
            Key::Mailbox(sender.clone()),
            |reached| &mut reached.sent,
            sequence,
        );
    }

    pub(super) fn publish_addressed(&self, recipient: &Arc<str>, sequence: i64) {
        self.raise(
            Key::Mailbox(recipient.clone()),
            |reached| &mut reached.inbox,
            sequence,
        );
    }

    pub(super) fn publish_channel(&self, channel: &Arc<str>, sequence: i64) {
        self.raise(
            Key::Channel(channel.clone()),
            |reached| &mut reached.inbox,
            sequence,
        );
    }

    /// Mailboxes and channels that somebody watches.
    pub(super) fn watched(&self) -> usize {
        self.inner.entries.load(Ordering::Relaxed)
    }

    fn raise(&self, key: Key, side: fn(&mut Reached) -> &mut i64, sequence: i64) {
        if let Some(entry) = self.shard(&key).get(&key) {
            entry.sender.send_if_modified(|reached| {
                let side = side(reached);
                let higher = sequence > *side;
                *side = sequence.max(*side);
                higher
            });
        }
    }

    /// The last watch of an entry removes it.
    fn leave(&self, key: &Key) {
        let mut shard = self.shard(key);
        let entry = shard.get_mut(key).expect("a live watch keeps its entry");
        entry.watches -= 1;
        if entry.watches == 0 {
            shard.remove(key);
            self.inner.entries.fetch_sub(1, Ordering::SeqCst);
        }
    }

    fn shard(&self, key: &Key) -> std::sync::MutexGuard<'_, HashMap<Key, Entry>> {
        let index = self.inner.hasher.hash_one(key) as usize % SHARDS;
        self.inner.shards[index]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::Name;
    use super::*;

    fn inbox(user: &str) -> Feed {
        Feed::Mailbox {
            user: Name::new("user", user).expect("a valid name"),
            which: MailboxBox::Inbox,
        }
    }

    #[tokio::test]
    async fn a_watch_reports_growth_of_its_own_feed_only() {
        let hub = Hub::new();
        let mut watch = hub.watch(&inbox("bob"));
        hub.publish_sent(&"bob".into(), 7);
        hub.publish_addressed(&"alice".into(), 8);
        hub.publish_addressed(&"bob".into(), 9);
        hub.publish_addressed(&"bob".into(), 10);
        assert_eq!(Sequence(10), watch.changed().await);
        assert_eq!(Sequence(10), watch.reached());
    }

    #[test]
    fn the_last_watch_takes_its_entry_along() {
        let hub = Hub::new();
        let (first, second) = (hub.watch(&inbox("bob")), hub.watch(&inbox("bob")));
        drop(first);
        assert_eq!(1, hub.watched());
        drop(second);
        assert!(hub.is_idle());
    }
}
