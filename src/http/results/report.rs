//! One run as a page that needs no server: the viewer's own files and the answers that it would
//! ask for, in one HTML text that opens from disk.
//!
//! Modules travel as `data:` URLs in an import map, under names that begin with `dchat/`. Nothing
//! that a script has named can become markup: JSON inside the page has no `<`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::header::{CONTENT_DISPOSITION, HeaderValue};
use serde::Serialize;
use serde_json::{Map, Value};

use super::answer::{RunWhole, SeriesBody};
use super::{refused, run_id};
use crate::http::assets;
use crate::http::call::Call;
use crate::http::error::ApiError;
use crate::http::reply::{self, Response};
use crate::results::{Results, SeriesQuery};

/// What the page's charts are drawn from; the same list stands in `assets/series.js`.
const METRICS: [&str; 4] = ["vus", "http_reqs", "http_req_failed", "http_req_duration"];

/// What the page reads instead of asking a relay.
#[derive(Serialize)]
struct Stored<'a> {
    run: RunWhole<'a>,
    series: SeriesBody<'a>,
}

/// `GET /api/v1/runs/{id}/report.html`
pub(crate) async fn report(results: &Results, call: &Call) -> Result<Response, ApiError> {
    let run_id = run_id(call)?;
    let not_read = |error| refused(error, run_id.as_str());
    let whole = results.whole(&run_id).await.map_err(not_read)?;
    let asked = SeriesQuery {
        run_id: run_id.clone(),
        metrics: METRICS.iter().map(|&metric| metric.to_owned()).collect(),
        tags: Default::default(),
        from_ms: None,
        to_ms: None,
        step: None,
    };
    let series = results.series(asked).await.map_err(not_read)?;
    let stored = Stored {
        run: RunWhole::of(&whole),
        series: SeriesBody::of(run_id.as_str(), &series),
    };
    let run = serde_json::to_string(&stored).expect("wire structs have string keys");
    let mut response = reply::text("text/html; charset=utf-8", Bytes::from(page(&run)));
    let name = format!(
        "attachment; filename=\"dchat-run-{}.html\"",
        run_id.as_str()
    );
    response.headers_mut().insert(
        CONTENT_DISPOSITION,
        HeaderValue::try_from(name).expect("run ids are UUIDs"),
    );
    Ok(response)
}

fn page(run: &str) -> String {
    let file = |name: &str| assets::text(name).expect("the page's files are part of the binary");
    let icon = format!(
        "data:image/svg+xml;base64,{}",
        STANDARD.encode(file("icon.svg"))
    );
    let modules = Value::Object(Map::from_iter([("imports".to_owned(), modules())]));
    // The run comes last: nothing inside of it is looked at for placeholders.
    let page = file("report.html")
        .replace("{{icon}}", &icon)
        .replace("{{style}}", &file("style.css"))
        .replace("{{modules}}", &modules.to_string());
    let (before, after) = page
        .split_once("{{run}}")
        .expect("the template has a place for the run");
    [before, &run.replace('<', "\\u003c"), after].concat()
}

/// Each module of the viewer under its name, its own imports renamed alike.
fn modules() -> Value {
    let scripts = assets::names().filter(|name| name.ends_with(".js"));
    let modules = scripts.filter_map(|name| {
        let text = assets::text(&name)?.replace("from \"./", "from \"dchat/");
        let url = format!("data:text/javascript;base64,{}", STANDARD.encode(text));
        Some((format!("dchat/{name}"), Value::String(url)))
    });
    Value::Object(modules.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_is_whole_and_a_run_is_no_markup() {
        let page = page(r#"{"run":{"name":"</script><b>{{style}}"}}"#);
        assert!(page.contains(r#"\u003c/script>\u003cb>{{style}}"#));
        assert!(
            !page.contains("{{icon}}") && !page.contains("/assets/"),
            "{page}"
        );
        assert!(page.contains("dchat/viewer.js\":\"data:text/javascript;base64,"));
    }
}
