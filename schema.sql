-- dchat schema

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
