-- dchat's two databases, embedded in the binary.
--
-- The file is cut at the lines `-- === NAME ===`; a section runs once, in one transaction, when its
-- file is created. `page_size`, `auto_vacuum`, `application_id` and `user_version` are set beside it
-- by `storage::schema`. A change here comes with a higher `user_version` and a migration.

-- === messages.db ===

-- One row per message, in the order of commits. `sequence` is assigned by the writer from
-- `tally.sequence`, so a number is never used twice, not even when the newest rows are gone.
-- Small columns stand before `content` and `extras`, which may lie on overflow pages.
CREATE TABLE message (
    sequence        INTEGER PRIMARY KEY,
    -- 16 bytes where the id is a canonical UUID (lower case, hyphens), else its text.
    id              ANY NOT NULL,
    sender          TEXT NOT NULL,
    -- At most one of the two. Neither: a plain post.
    recipient       TEXT,
    channel         TEXT,
    -- The sender's clock, as given.
    timestamp_ms    INTEGER,
    received_at_ms  INTEGER NOT NULL,
    -- Set where the message has a ttl of its own or was acknowledged. NULL and delivered: it
    -- expires `received_at_ms` + retention. NULL and not delivered: never.
    -- Of a removed message: the end of its id's reservation.
    expires_at_ms   INTEGER,
    -- NULL: waits for its recipient.
    delivered_at_ms INTEGER,
    -- NULL: alive; 1: expired; 2: deleted. A removed row keeps its id reserved and is in no list.
    removed         INTEGER,
    -- Of a removed message: a 16-byte digest, enough to tell a repeat from a conflict.
    content         ANY NOT NULL,
    -- JSON object text of the fields beside the contract's.
    extras          TEXT
) STRICT;

-- Idempotency and GET by id. UUIDv7 ids ascend, so that inserts stay on the last pages.
CREATE UNIQUE INDEX message_id ON message (id);

-- The lists below page by (owner, sequence): an index row ends with the rowid, which is `sequence`.

-- box=sent, and one part of box=all.
CREATE INDEX message_sent ON message (sender) WHERE removed IS NULL;

-- What waits for a recipient: status=queued, acknowledgement up to a sequence, and one part of
-- the inbox. Small wherever recipients acknowledge.
CREATE INDEX message_queued ON message (recipient)
    WHERE recipient IS NOT NULL AND delivered_at_ms IS NULL AND removed IS NULL;

-- The acknowledged part of the inbox. Two disjoint indexes cost a post one insertion instead of
-- two; the reader merges them.
CREATE INDEX message_taken ON message (recipient)
    WHERE recipient IS NOT NULL AND delivered_at_ms IS NOT NULL AND removed IS NULL;

-- Channel pages.
CREATE INDEX message_channel ON message (channel)
    WHERE channel IS NOT NULL AND removed IS NULL;

-- Expiry of own ttls and of acknowledged messages, and the end of reservations. Messages that are
-- delivered on receipt and have no ttl are not in it: they expire by walking the sequence order.
CREATE INDEX message_expires ON message (expires_at_ms) WHERE expires_at_ms IS NOT NULL;

-- One row, rewritten by every commit, so that counts and sequence survive a crash exactly.
CREATE TABLE tally (
    one                 INTEGER PRIMARY KEY CHECK (one = 1),
    -- The highest sequence ever given.
    sequence            INTEGER NOT NULL,
    -- Rows that are not removed, and of these the ones that wait for a recipient.
    stored              INTEGER NOT NULL,
    queued              INTEGER NOT NULL,
    -- Messages whose ttl ended before an acknowledgement, ever.
    expired_undelivered INTEGER NOT NULL,
    -- Expiry by walking has looked at every row up to this sequence.
    walked_to           INTEGER NOT NULL,
    -- Names this history of sequences; a restore begins a new one.
    epoch               TEXT NOT NULL
) STRICT;

-- === runs.db ===
-- Load-test runs and what was measured in them. Owned by storage::runs; page_size, auto_vacuum and
-- application_id are set there, before this is applied. user_version = 1.

-- One row per run, small: the list of runs reads only this table.
CREATE TABLE run (
    run_key        INTEGER PRIMARY KEY AUTOINCREMENT, -- short key of all tables below; never reused,
                                                      -- because points of a deleted run go later
    run_id         TEXT    NOT NULL UNIQUE,           -- the client's UUIDv7
    name           TEXT    NOT NULL,
    script_name    TEXT,
    target         TEXT,                              -- URL without credentials; may come late
    tags           TEXT    NOT NULL,                  -- JSON object of strings
    started_at_ms  INTEGER NOT NULL,                  -- relay's clock
    seen_at_ms     INTEGER NOT NULL,                  -- last call that brought something; a run
                                                      -- without finished_at_ms is lost 60 s later
    finished_at_ms INTEGER,
    aborted        INTEGER NOT NULL DEFAULT 0,        -- 1: ended before its time
    exit_code      INTEGER,
    verdict        TEXT,                              -- word of results::verdict, once finished
    pinned         INTEGER NOT NULL DEFAULT 0,        -- 1: exempt from retention
    bytes          INTEGER NOT NULL DEFAULT 0         -- about what the run occupies, for retention
) STRICT;

-- The list: newest first, from a cursor; retention: oldest first.
CREATE INDEX run_started ON run (started_at_ms, run_id);

-- The large texts of a run, read only for one whole run.
CREATE TABLE run_document (
    run_key    INTEGER PRIMARY KEY,
    registered TEXT NOT NULL,                         -- JSON object: script, options, thresholds, host
    finished   TEXT                                   -- JSON object: summary, thresholds, checks, figures
) STRICT;

-- A metric with one set of tags.
CREATE TABLE series (
    series_key INTEGER PRIMARY KEY AUTOINCREMENT,
    run_key    INTEGER NOT NULL,
    metric     TEXT    NOT NULL,
    tags       TEXT    NOT NULL,                      -- JSON object of strings, keys ascending
    type       TEXT    NOT NULL                       -- counter, gauge, rate, trend
) STRICT;

-- Finding a series when points arrive; reading the series of one metric, or of a run.
CREATE UNIQUE INDEX series_identity ON series (run_key, metric, tags);

-- What one series measured in one second. Read in time order per series.
CREATE TABLE point (
    series_key INTEGER NOT NULL,
    second     INTEGER NOT NULL,                      -- unix time in which the samples ended
    count      INTEGER NOT NULL,
    sum        REAL    NOT NULL,
    min        REAL,
    max        REAL,
    histogram  BLOB,                                  -- coarse (1 %), see storage::runs::packed
    PRIMARY KEY (series_key, second)
) STRICT, WITHOUT ROWID;

-- Batches already taken in, so that a repeat adds nothing.
CREATE TABLE batch (
    run_key INTEGER NOT NULL,
    source  TEXT    NOT NULL,
    batch   INTEGER NOT NULL,
    PRIMARY KEY (run_key, source, batch)
) STRICT, WITHOUT ROWID;

-- Deleted runs whose series and points are still to be removed, a little at a time.
CREATE TABLE doomed (
    run_key INTEGER PRIMARY KEY
) STRICT;
