//! One feed being read forward: stored messages first, then live ones, without gap or repeat.
//!
//! The watch begins before the first read, and every message comes from storage at the
//! subscription's own cursor, so a slow reader lags and never loses.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::http::app::App;
use crate::http::error::ApiError;
use crate::http::messages::refused;
use crate::relay::{Feed, From, PageQuery, Sequence, StoredMessage, Watch};

/// Messages read at once, where the pending bytes of one subscriber allow as many.
const PAGE_MESSAGES: usize = 128;

pub(super) struct Subscription {
    app: App,
    feed: Feed,
    cursor: Sequence,
    watch: Watch,
    /// Storage may hold messages above the cursor.
    behind: bool,
    /// What comes now was committed while we waited, so that its lag is ours.
    live: bool,
}

impl Subscription {
    /// Reads from behind `after`; from now on where it is `None`.
    pub(super) fn start(
        app: &App,
        feed: Feed,
        after: Option<Sequence>,
    ) -> Result<Subscription, ApiError> {
        let relay = app.relay()?;
        let watch = relay.watch(&feed);
        app.metrics.subscriptions.inc();
        Ok(Subscription {
            app: app.clone(),
            cursor: after.unwrap_or_else(|| relay.committed()),
            feed,
            watch,
            behind: true,
            live: false,
        })
    }

    pub(super) fn feed(&self) -> &Feed {
        &self.feed
    }

    /// Everything up to here has been read.
    pub(super) fn cursor(&self) -> Sequence {
        self.cursor
    }

    pub(super) fn is_behind(&self) -> bool {
        self.behind
    }

    /// The next messages, none when the end is reached.
    pub(super) async fn read(&mut self) -> Result<Vec<StoredMessage>, ApiError> {
        let query = PageQuery {
            feed: self.feed.clone(),
            from: From::After(self.cursor),
            limit: PAGE_MESSAGES,
            bytes_max: self.app.limits.socket_pending_bytes_max,
        };
        let page = self.app.relay()?.page(query).await.map_err(refused)?;
        self.cursor = page.next_after;
        self.behind = page.has_more;
        let metrics = &self.app.metrics;
        metrics.messages_pushed.inc_by(page.messages.len() as u64);
        if self.live {
            let now_ms = unix_ms();
            for message in &page.messages {
                let lag_ms = now_ms.saturating_sub(message.received_at_ms).max(0);
                metrics.push_lag_seconds.observe(lag_ms as f64 / 1_000.0);
            }
        }
        Ok(page.messages)
    }

    /// Waits until the feed has grown. Cancellation safe.
    pub(super) async fn grown(&mut self) {
        self.watch.changed().await;
        self.behind = true;
        self.live = true;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.app.metrics.subscriptions.dec();
    }
}

fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}
