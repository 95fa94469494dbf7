//! Options of a run that every VU shares.

use std::sync::Arc;
use std::time::Duration;

use crate::load::OwnMetrics;
use crate::load::js::VmSettings;
use crate::load::metrics::TagSet;
use crate::load::options::{Network, SystemTags};
use crate::load::request_rate::RequestRate;
use crate::load::schedule::segment::Stripe;

/// What the VUs of one run have in common. The engine fills it from the consolidated options.
#[derive(Clone, Debug)]
pub struct VuSettings {
    /// Value of `User-Agent` where the script sets none; empty sends none.
    pub user_agent: Arc<str>,
    /// `maxRedirects`.
    pub redirects_max: u32,
    /// `throw`: failed requests throw instead of returning status 0.
    pub throw: bool,
    /// `discardResponseBodies`.
    pub discard_response_bodies: bool,
    /// `insecureSkipTLSVerify`.
    pub insecure_skip_tls_verify: bool,
    /// `noConnectionReuse`.
    pub no_connection_reuse: bool,
    /// `noVUConnectionReuse`: connections end with their iteration.
    pub no_vu_connection_reuse: bool,
    /// `noCookiesReset`.
    pub no_cookies_reset: bool,
    /// `batch`: parallel requests of one `http.batch`.
    pub batch_max: usize,
    /// `batchPerHost`: of these, to one host.
    pub batch_per_host_max: usize,
    /// `minIterationDuration`.
    pub min_iteration_duration: Option<Duration>,
    /// `hosts`, `dns`, `blacklistIPs`, `blockHostnames`, `localIPs`, TLS, `httpDebug`.
    pub network: Arc<Network>,
    /// Which VUs of the whole test are this instance's.
    pub vus: Stripe,
    /// How long the `vuTeardown` of all VUs may take.
    pub vu_teardown_timeout: Duration,
    /// `rps`, if there is a limit.
    pub request_rate: Option<Arc<RequestRate>>,
    /// Whether arrival rates measure from their schedule too.
    pub own_metrics: OwnMetrics,
    /// `systemTags`.
    pub system_tags: SystemTags,
    /// `tags` of the run: on the samples of `setup` and `teardown`; the samples of iterations get
    /// them through their scenario.
    pub run_tags: TagSet,
    pub vm: VmSettings,
}
