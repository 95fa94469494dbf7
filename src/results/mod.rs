//! Runs, series and points of load tests: recording them, reading them, judging them.
//!
//! [`Results`] is the only door: `http` calls it, it calls `storage::runs`. It knows no HTTP and
//! no SQL. The verdict is pure and is also used by the command line.
//!
//! Architecture invariant: nothing here touches messages; a run is recorded only because somebody
//! sent it over the wire.

mod control;
mod figures;
mod live;
mod run;
mod series;
pub mod verdict;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::limits::Limits;
use crate::storage;
use crate::storage::runs::{Clock, NewBatch, NewEnd, NewPoint, NewRun, Point, RunRow, RunsQuery};
use crate::storage::runs::{RunsStore, Taken};

pub use crate::storage::runs::Error;
pub use control::Order;
pub use figures::Totals;
pub use live::{Change, Watch};
pub use run::{ClientTime, End, LOST_AFTER, Registration, Run, RunId, State, Tags};
pub use series::{
    Batch, Kind, MetricSteps, STEPS_MAX, Sample, Series, SeriesAnswer, SeriesQuery, Step,
};
use series::{Stepper, chosen_step, read_tags, steps, write_tags};
use verdict::{Status, Verdict};

/// A cheap handle on everything stored about load-test runs; every clone means the same file.
#[derive(Clone, Debug)]
pub struct Results {
    store: RunsStore,
    live: Arc<live::Live>,
    orders: Arc<control::Orders>,
    clock: Clock,
}

/// Which runs a page of the list holds.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    pub limit: usize,
    pub before: Option<Before>,
    /// Part of the name, the script's name, the target or the id.
    pub text: Option<String>,
    /// A tag, with its value unless any will do.
    pub tag: Option<(String, Option<String>)>,
}

/// Where a page of the list begins.
#[derive(Clone, Debug)]
pub enum Before {
    Run(RunId),
    /// Runs that started before this, unix milliseconds.
    Time(i64),
}

#[derive(Clone, Debug)]
pub struct RunPage {
    /// Newest first.
    pub runs: Vec<Run>,
    pub has_more: bool,
}

/// One run with everything but its points.
#[derive(Clone, Debug)]
pub struct WholeRun {
    pub run: Run,
    /// JSON object: script, options, thresholds, host.
    pub registered: String,
    /// JSON object: summary, thresholds, checks.
    pub finished: Option<String>,
    pub series: Vec<Series>,
    pub verdict: Verdict,
}

/// Why an order makes no sense for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It has ended.
    Over,
    /// None of its scenarios has one of these executors.
    NoKnob(&'static [&'static str]),
}

impl Results {
    /// Opens or creates `runs.db` in `dir`, whose lock the caller holds. Blocks.
    ///
    /// # Errors
    /// See [`storage::Error`].
    pub fn open(dir: &Path, limits: &Limits) -> Result<Results, storage::Error> {
        Self::open_with_clock(dir, limits, wall_clock)
    }

    /// The same with a clock of the caller's, in unix milliseconds.
    ///
    /// # Errors
    /// See [`storage::Error`].
    pub fn open_with_clock(
        dir: &Path,
        limits: &Limits,
        clock: Clock,
    ) -> Result<Results, storage::Error> {
        Ok(Results {
            store: RunsStore::open(dir, limits, clock)?,
            live: Arc::new(live::Live::new()),
            orders: Arc::default(),
            clock,
        })
    }

    /// Writes what is queued and joins the thread; repeatable. Blocks.
    pub fn close(&self) {
        self.store.close();
    }

    /// Unix milliseconds, the time of everything stored here.
    pub fn now_ms(&self) -> i64 {
        (self.clock)()
    }

    pub async fn register(&self, registration: Registration) -> Result<(), Error> {
        let run_id = registration.run_id.clone();
        let row = NewRun {
            run_id: run_id.text(),
            name: registration.name,
            script_name: registration.script_name,
            target: registration.target,
            tags: write_tags(&registration.tags),
            started_at_ms: registration.started.corrected(self.now_ms()),
            registered: registration.document,
        };
        self.store.register(row).await?;
        self.live.publish(Change::of_run(run_id));
        Ok(())
    }

    /// Stores a batch once; returns whether it was new.
    pub async fn add(&self, batch: Batch) -> Result<bool, Error> {
        let run_id = batch.run_id.clone();
        match self.store.add(batch_row(batch)).await? {
            Taken::Repeated => Ok(false),
            Taken::Stored(seconds) => {
                if let Some(seconds) = seconds {
                    self.live.publish(Change::of_points(run_id, seconds));
                }
                Ok(true)
            }
        }
    }

    /// Ends a run and judges it; a repeat replaces the end.
    pub async fn finish(&self, run_id: &RunId, end: End) -> Result<(), Error> {
        let verdict = match &end.totals {
            Some(totals) => verdict::judge(&totals.figures()),
            None => {
                let row = self.row(run_id).await?;
                self.judge_series(row.run_key).await?
            }
        };
        let row = NewEnd {
            finished_at_ms: end.finished.corrected(self.now_ms()),
            aborted: end.aborted,
            exit_code: end.exit_code,
            verdict: verdict.overall.word(),
            target: end.target,
            finished: with_totals(end.document, end.totals.as_ref()),
        };
        self.store.finish(run_id.text(), row).await?;
        self.orders.forget(run_id);
        self.live.publish(Change::of_run(run_id.clone()));
        Ok(())
    }

    /// Leaves an order for a run that goes on; its next batch of samples takes it along.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Refused`] inside if the run has no such knob.
    pub async fn order(&self, run_id: &RunId, order: Order) -> Result<Result<(), Refused>, Error> {
        let row = self.row(run_id).await?;
        if row.finished_at_ms.is_some() {
            return Ok(Err(Refused::Over));
        }
        if let Some(executors) = order.executors() {
            let document = self.store.document(row.run_key).await?;
            let registered = document.ok_or(Error::NotFound)?.registered;
            if !executors_in(&registered).any(|given| executors.contains(&given.as_str())) {
                return Ok(Err(Refused::NoKnob(executors)));
            }
        }
        self.orders.add(run_id, order);
        Ok(Ok(()))
    }

    /// Orders that go back with the answer to a batch.
    pub fn orders(&self, run_id: &RunId, source: &str, batch: u64) -> Vec<Order> {
        self.orders.take(run_id, source, batch)
    }

    pub async fn delete(&self, run_id: &RunId) -> Result<(), Error> {
        self.store.delete(run_id.text()).await?;
        self.orders.forget(run_id);
        self.live.publish(Change::of_run(run_id.clone()));
        Ok(())
    }

    pub async fn list(&self, query: ListQuery) -> Result<RunPage, Error> {
        let before = match query.before {
            None => None,
            Some(Before::Time(ms)) => Some((ms, String::new())),
            Some(Before::Run(id)) => {
                // A run that was removed since the last page is placed by its id.
                let place = match self.store.run(id.text()).await? {
                    Some(row) => row.started_at_ms,
                    None => id.made_at_ms().unwrap_or(i64::MAX),
                };
                Some((place, id.as_str().to_owned()))
            }
        };
        let rows = RunsQuery {
            limit: query.limit,
            before,
            text: query.text,
            tag: query.tag,
        };
        let mut rows = self.store.list(rows).await?;
        let has_more = rows.len() > query.limit;
        rows.truncate(query.limit);
        let now_ms = self.now_ms();
        let runs = rows.into_iter().map(|row| run_of(row, now_ms)).collect();
        Ok(RunPage { runs, has_more })
    }

    /// What the list shows of one run.
    pub async fn run(&self, run_id: &RunId) -> Result<Run, Error> {
        Ok(run_of(self.row(run_id).await?, self.now_ms()))
    }

    pub async fn whole(&self, run_id: &RunId) -> Result<WholeRun, Error> {
        let row = self.row(run_id).await?;
        let document = self.store.document(row.run_key).await?;
        // Deleted between the two reads.
        let document = document.ok_or(Error::NotFound)?;
        let totals = document.finished.as_deref().and_then(totals_in);
        let verdict = match totals {
            Some(totals) => verdict::judge(&totals.figures()),
            None => self.judge_series(row.run_key).await?,
        };
        let series = self.store.series(row.run_key).await?;
        Ok(WholeRun {
            run: run_of(row, self.now_ms()),
            registered: document.registered,
            finished: document.finished,
            series: series
                .into_iter()
                .map(|row| Series {
                    metric: row.metric,
                    kind: row.kind,
                    tags: read_tags(&row.tags),
                })
                .collect(),
            verdict,
        })
    }

    /// Time series of one run.
    ///
    /// # Errors
    /// [`Error::Steps`] if the step leads to more than [`STEPS_MAX`] steps.
    pub async fn series(&self, query: SeriesQuery) -> Result<SeriesAnswer, Error> {
        let row = self.row(&query.run_id).await?;
        let end_ms = row.finished_at_ms.unwrap_or(row.seen_at_ms);
        let from_ms = query.from_ms.unwrap_or(row.started_at_ms);
        // Without an end: what came in after the last whole second counts too.
        let to_ms = query.to_ms.unwrap_or(end_ms.saturating_add(2_000));
        let (from_second, to_second) = (from_ms.div_euclid(1_000), to_ms.div_euclid(1_000));
        let step = query
            .step
            .unwrap_or_else(|| chosen_step(from_second, to_second));
        if to_second.saturating_sub(from_second) / step > STEPS_MAX {
            return Err(Error::Steps);
        }
        let mut metrics: Vec<MetricSteps> = Vec::new();
        let mut metric_of = BTreeMap::new();
        for series in self.store.series(row.run_key).await? {
            let wanted = query.metrics.is_empty() || query.metrics.contains(&series.metric);
            if !wanted || !contains(&read_tags(&series.tags), &query.tags) {
                continue;
            }
            match metrics.last_mut() {
                Some(last) if last.metric == series.metric => last.series += 1,
                _ => metrics.push(MetricSteps {
                    metric: series.metric,
                    kind: series.kind,
                    series: 1,
                    steps: Vec::new(),
                    window: steps(from_second, &BTreeMap::new()).1,
                }),
            }
            metric_of.insert(series.series_key, metrics.len() - 1);
        }
        let keys = metric_of.keys().copied().collect();
        let stepper = Stepper {
            step,
            metric_of,
            bins: vec![BTreeMap::new(); metrics.len()],
        };
        let add = |stepper: &mut Stepper, key, second, point: Point| {
            stepper.add(key, second, &point);
        };
        let stepper = self
            .store
            .fold_points(keys, (from_second, to_second), stepper, add)
            .await?;
        for (metric, bins) in metrics.iter_mut().zip(&stepper.bins) {
            (metric.steps, metric.window) = steps(from_second, bins);
        }
        Ok(SeriesAnswer {
            from_second,
            to_second,
            step,
            metrics,
        })
    }

    /// Changes of one run from now on.
    pub fn watch(&self, run_id: RunId) -> Watch {
        self.live.watch(run_id)
    }

    async fn row(&self, run_id: &RunId) -> Result<RunRow, Error> {
        let row = self.store.run(run_id.text()).await?;
        row.ok_or(Error::NotFound)
    }

    async fn judge_series(&self, run_key: i64) -> Result<Verdict, Error> {
        let adding = figures::FiguresFromSeries::new(&self.store.series(run_key).await?);
        let keys = adding.series_keys();
        let add = |adding: &mut figures::FiguresFromSeries, key, second, point: Point| {
            adding.add(key, second, &point);
        };
        let all = (i64::MIN, i64::MAX);
        let added = self.store.fold_points(keys, all, adding, add).await?;
        Ok(verdict::judge(&added.finish()))
    }
}

fn run_of(row: RunRow, now_ms: i64) -> Run {
    let silent = now_ms.saturating_sub(row.seen_at_ms) > LOST_AFTER.as_millis() as i64;
    let state = match (row.finished_at_ms, row.aborted) {
        (Some(_), true) => State::Aborted,
        (Some(_), false) => State::Finished,
        (None, _) if silent => State::Lost,
        (None, _) => State::Running,
    };
    Run {
        run_id: row.run_id,
        name: row.name,
        script_name: row.script_name,
        target: row.target,
        tags: read_tags(&row.tags),
        state,
        started_at_ms: row.started_at_ms,
        finished_at_ms: row.finished_at_ms,
        seen_at_ms: row.seen_at_ms,
        exit_code: row.exit_code,
        verdict: row.verdict.as_deref().and_then(Status::parse),
        pinned: row.pinned,
        bytes: row.bytes,
    }
}

fn batch_row(batch: Batch) -> NewBatch {
    let points = batch.samples.into_iter().map(|sample| NewPoint {
        second: sample.second,
        metric: sample.metric.into(),
        kind: sample.kind.word(),
        tags: write_tags(&sample.tags).into(),
        point: Point {
            count: sample.count,
            sum: sample.sum,
            min: sample.min,
            max: sample.max,
            histogram: sample.histogram,
        },
    });
    NewBatch {
        run_id: batch.run_id.text(),
        source: batch.source,
        batch: batch.batch,
        points: points.collect(),
    }
}

/// The end's document with the totals under `figures`, where a later reader finds them.
fn with_totals(document: String, totals: Option<&Totals>) -> String {
    let Some(totals) = totals else {
        return document;
    };
    let mut object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&document).unwrap_or_default();
    let value = serde_json::to_value(totals).unwrap_or_default();
    object.insert("figures".into(), value);
    serde_json::Value::Object(object).to_string()
}

fn totals_in(document: &str) -> Option<Totals> {
    #[derive(serde::Deserialize)]
    struct End {
        figures: Option<Totals>,
    }
    serde_json::from_str::<End>(document).ok()?.figures
}

/// Executors of the scenarios that a run has registered.
fn executors_in(registered: &str) -> impl Iterator<Item = String> + use<> {
    let document: serde_json::Value = serde_json::from_str(registered).unwrap_or_default();
    let scenarios = document["options"]["scenarios"].as_object().cloned();
    let executor = |(_, scenario): (String, serde_json::Value)| {
        scenario["executor"].as_str().map(str::to_owned)
    };
    scenarios
        .unwrap_or_default()
        .into_iter()
        .filter_map(executor)
}

fn contains(tags: &Tags, wanted: &Tags) -> bool {
    wanted
        .iter()
        .all(|(name, value)| tags.get(name) == Some(value))
}

fn wall_clock() -> i64 {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    since_epoch.as_millis() as i64
}

#[cfg(test)]
mod tests;
